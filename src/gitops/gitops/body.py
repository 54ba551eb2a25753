"""The text of a pull request that moves pins: what moves, what it brings, what is known. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gitops import markdown, scans
from gitops.git import Entry
from gitops.inspection import Inspection
from gitops.manifests import Change
from gitops.promotion import Move, Promotion
from gitops.rollback import Rollback

#: So many commits are listed; the rest is a number.
COMMITS = 50
_NEWEST = 12


@dataclass(frozen=True)
class Evidence:
    """What is known about what moves. None is said to be unknown, never left out."""

    #: By service.
    commits: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    changes: Sequence[Change] | None = None
    before: Mapping[str, Inspection] = field(default_factory=dict)
    after: Mapping[str, Inspection] = field(default_factory=dict)


def promotion(made: Promotion, evidence: Evidence) -> str:
    """What a reviewer of a promotion wants to know, the shortest first."""
    head = (
        f"Merging this lets **{made.target}** run what **{made.source}** runs: the same images,"
        " by digest."
    )
    if made.target == "prod":
        head += " prod then waits for a person to sync it in Argo CD."
    parts = [head]
    if made.returns:
        parts.append(
            "> [!WARNING]\n"
            f"> {made.target} ran {_names(made.returns)} in this version already, and was taken"
            " back from it. This does not merge by itself."
        )
    parts += [_moves(made.moves), _signatures(made.moves, evidence)]
    parts += [_scans(made.moves, evidence), _commits(evidence), _rendered(evidence)]
    return _bounded(parts)


def rollback(made: Rollback, evidence: Evidence) -> str:
    """What a reviewer of a way back wants to know."""
    head = (
        f"Merging this takes **{made.environment}** back to what it ran before"
        f" {made.reverted} ({markdown.code(made.subject)})."
    )
    after = (
        "The older version works on the newer schema: migrations only expand. The next promotion"
        " offers the newer version again, marked as one that was taken back."
    )
    return _bounded([head, _moves(made.moves), _rendered(evidence), after])


def _names(services: Sequence[str]) -> str:
    return ", ".join(services)


def _moves(moves: Sequence[Move]) -> str:
    rows = [
        (
            move.service,
            markdown.code(move.before.tag[:_NEWEST]) if move.before.released else "nothing",
            markdown.code(move.after.tag[:_NEWEST]),
            markdown.code(move.after.digest),
        )
        for move in moves
    ]
    return markdown.table(("service", "from", "to", "digest"), rows)


def _signatures(moves: Sequence[Move], evidence: Evidence) -> str:
    if all(one.service in evidence.after and evidence.after[one.service].signed for one in moves):
        return "**Signatures:** each image is signed by this repository's build on main."
    return "**Signatures:** not checked here. docs/how-to/verify-an-image.md has the commands."


def _scans(moves: Sequence[Move], evidence: Evidence) -> str:
    rows = [_scan_row(move, evidence) for move in moves]
    if all(row is None for row in rows):
        return "**Scans:** none were made here."
    head = ("service", "before", "after", "new", "gone")
    return f"**Known vulnerabilities**\n\n{markdown.table(head, [row for row in rows if row])}"


def _scan_row(move: Move, evidence: Evidence) -> tuple[str, ...] | None:
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
        _identifiers(changed.gone),
    )


def _identifiers(findings: Sequence[scans.Finding]) -> str:
    shown = [markdown.code(one.identifier) for one in findings[:10]]
    more = [f"and {len(findings) - 10} more"] if len(findings) > 10 else []
    return " ".join([*shown, *more]) or "none"


def _commits(evidence: Evidence) -> str:
    blocks = []
    for service, entries in evidence.commits.items():
        lines = [
            f"{one.commit[:_NEWEST]} {one.subject} ({one.author})" for one in entries[:COMMITS]
        ]
        if len(entries) > COMMITS:
            lines.append("... and older ones")
        count = f"{COMMITS} and more" if len(entries) > COMMITS else str(len(entries))
        noun = "commit" if len(entries) == 1 else "commits"
        blocks.append(markdown.folded(f"{service}: {count} {noun}", markdown.fenced(lines)))
    return "\n\n".join(blocks) or "**Commits:** none between the two."


def _rendered(evidence: Evidence) -> str:
    if evidence.changes is None:
        return "**Rendered difference:** not made here (there was no kustomize)."
    if not evidence.changes:
        return "**Rendered difference:** none."
    shown = markdown.difference(evidence.changes, limit=markdown.LIMIT // 2)
    return f"**Rendered difference**\n\n{shown}"


def _bounded(parts: Sequence[str]) -> str:
    kept = [part for part in parts if part]
    # Half of an unclosed block would swallow the rest of the page, so a part goes whole.
    while kept and len("\n\n".join(kept)) > markdown.LIMIT:
        kept.pop()
    if len(kept) < sum(bool(part) for part in parts):
        kept.append("The rest is too long to be shown here; `gitops diff` shows it.")
    text = "\n\n".join(kept)
    return f"{text}\n"
