"""``gitops promote`` and ``gitops rollback``: change pins through a pull request."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from gitops import body, changes, inspection, layout, promotion, render
from gitops import rollback as reverting
from gitops.body import PromotionEvidence
from gitops.cli import options
from gitops.errors import GitOpsError
from gitops.git import Entry, Repository
from gitops.github import GitHub
from gitops.inspection import Inspection
from gitops.manifests import Change
from gitops.promotion import Move, Promotion


@click.command()
@click.option(
    "--from",
    "source",
    type=click.Choice(layout.ENVIRONMENTS),
    required=True,
    help="The environment whose images are promoted.",
)
@click.option(
    "--to",
    "target",
    type=click.Choice(layout.ENVIRONMENTS),
    help="The target environment (default: the next environment).",
)
@click.option(
    "--at",
    metavar="REV",
    help="The commit that Argo CD synced to the source (default: the head of the branch).",
)
@options.branch
@click.option(
    "--pull-request", is_flag=True, help="Also create or update the pull request with gh."
)
@click.option(
    "--auto-merge/--no-auto-merge",
    envvar="GITOPS_AUTO_MERGE",
    show_envvar=True,
    help="Merge automatically when all checks pass. Never used for prod.",
)
@click.option(
    "--inspect",
    is_flag=True,
    help="Verify signatures with cosign and scan with trivy. Otherwise reported as not checked.",
)
@options.repository
@options.kustomize
@options.out
@options.identity
@click.pass_obj
def promote(
    repository: Repository,
    *,
    source: str,
    target: str | None,
    at: str | None,
    branch: str,
    pull_request: bool,
    auto_merge: bool,
    inspect: bool,
    github_repository: str,
    kustomize: str | None,
    out: Path | None,
    name: str | None,
    email: str | None,
) -> None:
    """Promote the images of one environment to the next.

    Creates or replaces the branch promote/TARGET. Merging it is the promotion. The pins are copied
    with their digests; nothing is built again. An image without this repository's signature stops
    the promotion. Without --pull-request, the command prints the body of the pull request.
    """
    target = target or promotion.next_environment(source)
    gh = GitHub(repository.directory) if pull_request else None
    # Resolve the commit once, so that the pushed images are the inspected images.
    deployed = repository.resolve(at) if at else _tip(repository, branch)
    moves = promotion.plan(
        repository, source=source, target=target, base=_tip(repository, branch), at=deployed
    )
    before: dict[str, Inspection] = {}
    after: dict[str, Inspection] = {}
    if inspect:
        signer = inspection.identity(github_repository, branch)
        with tempfile.TemporaryDirectory(prefix="gitops-scans-") as scratch:
            before, after = _inspect(
                moves, signer=signer, reports=out / "scans" if out else Path(scratch)
            )
    promoted = promotion.promote(
        repository,
        source=source,
        target=target,
        main=branch,
        at=deployed,
        identity=options.committer(repository, name, email),
    )
    if promoted.commit is None or promoted.superseded:
        click.echo(_nothing_to_do(promoted))
        return
    title = promotion.title(promoted)
    text = body.promotion(
        promoted,
        PromotionEvidence(
            commits={move.service: _commits(repository, move) for move in promoted.moves},
            changes=_rendered(repository, kustomize, promoted.base, promoted.commit, target),
            before=before,
            after=after,
        ),
    )
    if out:
        _write(out, title, text, branch=promoted.branch, rolled_back=promoted.rolled_back)
    if gh is None:
        click.echo(f"pushed {promoted.commit[:12]} to {promoted.branch}\n\n# {title}\n\n{text}")
        return
    request = gh.create_or_update(
        branch=promoted.branch, base=branch, title=title, body=text, labels=[f"env/{target}"]
    )
    if auto_merge and target != layout.ENVIRONMENTS[-1] and not promoted.rolled_back:
        gh.enable_auto_merge(request.number)
    else:
        gh.disable_auto_merge(request.number)
    click.echo(request.url)


@click.command()
@click.argument("where", metavar="[ENV]", type=click.Choice(layout.ENVIRONMENTS), required=False)
@click.argument("service", type=click.Choice(layout.SERVICES), required=False)
@click.option("--env", type=click.Choice(layout.ENVIRONMENTS), help="Instead of the argument ENV.")
@click.option(
    "--to",
    type=click.IntRange(min=1),
    metavar="N",
    help="Go back N changes (default: 1, the state before the last change).",
)
@click.option("--revert", metavar="REV", help="Revert only this commit, and keep later changes.")
@click.option(
    "--accept-migration",
    is_flag=True,
    help="The older version works on the current schema, although a migration did not only expand.",
)
@options.branch
@click.option(
    "--pull-request", is_flag=True, help="Also create or update the pull request with gh."
)
@options.kustomize
@options.out
@options.identity
@click.pass_obj
def rollback(
    repository: Repository,
    *,
    where: str | None,
    service: str | None,
    env: str | None,
    to: int | None,
    revert: str | None,
    accept_migration: bool,
    branch: str,
    pull_request: bool,
    kustomize: str | None,
    out: Path | None,
    name: str | None,
    email: str | None,
) -> None:
    """Return an environment, or a service of it, to an earlier state.

    Creates or replaces the branch rollback/ENV, which restores images, configuration and bases
    together. Merging it is the rollback; auto-sync stays on. The command is refused if the older
    version of the notification service may fail on the current schema, and if --revert names a
    commit whose files a later commit changed.
    """
    environment = where or env
    if environment is None:
        raise click.UsageError("give the environment, for example: gitops rollback prod")
    if to and revert:
        raise click.UsageError("give --to or --revert, not both")
    gh = GitHub(repository.directory) if pull_request else None
    reverted = reverting.rollback(
        repository,
        environment=environment,
        main=branch,
        service=service,
        to=to or 1,
        revert=revert or None,
        accept_migration=accept_migration,
        identity=options.committer(repository, name, email),
    )
    title = reverting.title(reverted)
    rendered = _rendered(repository, kustomize, reverted.base, reverted.commit, environment)
    text = body.rollback(reverted, PromotionEvidence(changes=rendered))
    if out:
        _write(out, title, text, branch=reverted.branch)
    if gh is None:
        click.echo(f"pushed {reverted.commit[:12]} to {reverted.branch}\n\n# {title}\n\n{text}")
        return
    request = gh.create_or_update(
        branch=reverted.branch, base=branch, title=title, body=text, labels=[f"env/{environment}"]
    )
    click.echo(request.url)


def _nothing_to_do(promoted: Promotion) -> str:
    if promoted.superseded:
        return f"{promoted.branch} already contains a newer promotion; not changed"
    return f"{promoted.target} already runs what {promoted.source} runs; nothing to promote"


def _tip(repository: Repository, branch: str) -> str:
    tip = repository.fetch(branch)
    if tip is None:
        raise GitOpsError(f"{repository.remote} has no branch {branch}")
    return tip


def _inspect(
    moves: Sequence[Move], *, signer: str, reports: Path
) -> tuple[dict[str, Inspection], dict[str, Inspection]]:
    """Inspect the current and the new images. Runs before the push, because it can refuse it."""
    released = [move.before for move in moves if move.before.released]
    # The signature of a running image was verified when it was promoted.
    before = [inspection.inspect(pin, signer=None, reports=reports) for pin in released]
    after = [inspection.inspect(move.after, signer=signer, reports=reports) for move in moves]
    return (
        {inspected.service: inspected for inspected in before},
        {inspected.service: inspected for inspected in after},
    )


def _commits(repository: Repository, move: Move) -> tuple[Entry, ...]:
    since = move.before.tag if move.before.released else None
    paths = (f"src/{move.service}", *changes.SHARED)
    return repository.log(since, move.after.tag, *paths, limit=body.COMMITS + 1)


def _rendered(
    repository: Repository, kustomize: str | None, base: str, head: str, environment: str
) -> tuple[Change, ...] | None:
    command = render.program(kustomize)
    if command is None:
        return None
    with render.Renderer(repository, command) as renderer:
        return renderer.difference(base, head, environment)


def _write(out: Path, title: str, text: str, **facts: object) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "title.txt").write_text(f"{title}\n", encoding="utf-8")
    (out / "body.md").write_text(text, encoding="utf-8")
    (out / "facts.json").write_text(f"{json.dumps(facts, indent=2)}\n", encoding="utf-8")
