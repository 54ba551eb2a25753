"""The text of a promotion or rollback pull request. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gitops import markdown, scans
from gitops.git import Entry
from gitops.inspection import Inspection
from gitops.manifests import Change
from gitops.promotion import Move, Promotion
from gitops.rollback import Rollback

#: The maximum number of commits that are listed for one service.
COMMITS = 50
#: The number of characters of a commit id that are shown.
_SHORT = 12


@dataclass(frozen=True)
class PromotionEvidence:
    """Facts about the changed pins. A missing fact is reported as missing, never left out."""

    #: The commits that the new images add, by service.
    commits: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    changes: Sequence[Change] | None = None
    before: Mapping[str, Inspection] = field(default_factory=dict)
    after: Mapping[str, Inspection] = field(default_factory=dict)


def promotion(promoted: Promotion, evidence: PromotionEvidence) -> str:
    """The body of a promotion pull request: the most important facts first."""
    head = (
        f"Merging this deploys to **{promoted.target}** the images that **{promoted.source}** runs,"
        " pinned by digest, and the bases that it uses."
    )
    if promoted.target == "prod":
        head += " A person must then sync prod in Argo CD."
    parts = [head]
    if promoted.rolled_back:
        parts.append(
            "> [!WARNING]\n"
            f"> {promoted.target} already ran this version of {', '.join(promoted.rolled_back)} and"
            " was rolled back. Auto-merge is off for this pull request."
        )
    if promoted.moves:
        parts += [_moves(promoted.moves)]
    if apps := promoted.configuration.apps:
        count = len(promoted.configuration.files)
        parts.append(f"**Bases:** {count} files of {', '.join(apps)} change.")
    parts += [_signatures(promoted.moves, evidence)]
    parts += [_scans(promoted.moves, evidence), _commits(evidence), _rendered(evidence)]
    return _bounded(parts)


def rollback(reverted: Rollback, evidence: PromotionEvidence) -> str:
    """The body of a rollback pull request."""
    head = (
        f"Merging this returns **{reverted.environment}** to the state before"
        f" {reverted.reverted} ({markdown.code(reverted.subject)}): images, configuration and bases"
        " together."
    )
    parts = [head]
    if reverted.moves:
        parts.append(_moves(reverted.moves))
    if reverted.configuration:
        parts.append(f"**Configuration and bases:** {', '.join(reverted.configuration)}.")
    if reverted.migration:
        parts.append(f"**Database:** {reverted.migration}")
    after = (
        "The next promotion offers the newer version again, with a warning that it was rolled back."
    )
    return _bounded([*parts, _rendered(evidence), after])


def _moves(moves: Sequence[Move]) -> str:
    rows = [
        (
            move.service,
            markdown.code(move.before.tag[:_SHORT]) if move.before.released else "nothing",
            markdown.code(move.after.tag[:_SHORT]),
            markdown.code(move.after.digest),
        )
        for move in moves
    ]
    return markdown.table(("service", "from", "to", "digest"), rows)


def _signatures(moves: Sequence[Move], evidence: PromotionEvidence) -> str:
    verified = [evidence.after.get(move.service) for move in moves]
    if all(inspection and inspection.signed for inspection in verified):
        return "**Signatures:** each image is signed by this repository's build on main."
    return "**Signatures:** not checked. docs/how-to/verify-an-image.md has the commands."


def _scans(moves: Sequence[Move], evidence: PromotionEvidence) -> str:
    rows = [_scan_row(move, evidence) for move in moves]
    if all(row is None for row in rows):
        return "**Scans:** not run."
    head = ("service", "before", "after", "new", "fixed")
    return f"**Known vulnerabilities**\n\n{markdown.table(head, [row for row in rows if row])}"


def _scan_row(move: Move, evidence: PromotionEvidence) -> tuple[str, ...] | None:
    after = evidence.after.get(move.service)
    if after is None:
        return None
    before = evidence.before.get(move.service)
    if before is None:
        return (move.service, "not scanned", scans.counts(after.findings), "", "")
    changed = scans.difference(before.findings, after.findings)
    return (
        move.service,
        scans.counts(before.findings),
        scans.counts(after.findings),
        _identifiers(changed.new),
        _identifiers(changed.fixed),
    )


def _identifiers(findings: Sequence[scans.Finding]) -> str:
    shown = [markdown.code(finding.identifier) for finding in findings[:10]]
    more = [f"and {len(findings) - 10} more"] if len(findings) > 10 else []
    return " ".join([*shown, *more]) or "none"


def _commits(evidence: PromotionEvidence) -> str:
    blocks = []
    for service, entries in evidence.commits.items():
        lines = [
            f"{entry.commit[:_SHORT]} {entry.subject} ({entry.author})"
            for entry in entries[:COMMITS]
        ]
        if len(entries) > COMMITS:
            lines.append("... and older commits")
        count = f"more than {COMMITS}" if len(entries) > COMMITS else str(len(entries))
        noun = "commit" if len(entries) == 1 else "commits"
        blocks.append(markdown.folded(f"{service}: {count} {noun}", markdown.fenced(lines)))
    return "\n\n".join(blocks) or "**Commits:** none."


def _rendered(evidence: PromotionEvidence) -> str:
    if evidence.changes is None:
        return "**Rendered difference:** not available (kustomize is not installed)."
    if not evidence.changes:
        return "**Rendered difference:** none."
    shown = markdown.difference(evidence.changes, limit=markdown.LIMIT // 2)
    return f"**Rendered difference**\n\n{shown}"


def _bounded(parts: Sequence[str]) -> str:
    kept = [part for part in parts if part]
    # A part that is cut in the middle leaves a block open, so drop complete parts.
    while kept and len("\n\n".join(kept)) > markdown.LIMIT:
        kept.pop()
    if len(kept) < sum(bool(part) for part in parts):
        kept.append("The rest is too long to show; run `gitops diff` to see it.")
    text = "\n\n".join(kept)
    return f"{text}\n"
