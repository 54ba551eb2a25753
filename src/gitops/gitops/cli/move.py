"""``gitops promote`` and ``gitops rollback``: pins that move by a merge."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from gitops import body, changes, inspection, layout, promotion, render
from gitops import rollback as going_back
from gitops.body import Evidence
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
    help="Where it runs already.",
)
@click.option(
    "--to",
    "target",
    type=click.Choice(layout.ENVIRONMENTS),
    help="Where it is to run; the next one, unless given.",
)
@click.option(
    "--at",
    metavar="REV",
    help="The commit that Argo CD synced there; what the branch says now, unless given.",
)
@options.branch
@click.option("--pull-request", is_flag=True, help="Also open or update its pull request, by gh.")
@click.option(
    "--auto-merge/--no-auto-merge",
    envvar="GITOPS_AUTO_MERGE",
    show_envvar=True,
    help="Let it merge itself when all checks pass; never into prod.",
)
@click.option(
    "--inspect",
    is_flag=True,
    help="Verify signatures and scan, by cosign and trivy; else the text says that nobody did.",
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
    """Offer to the next environment the very images that run in the one before.

    Makes or replaces the branch promote/TARGET; merging it is the promotion. What runs there by
    digest is copied, nothing is built or resolved anew. An image that cosign says is not ours
    stops it. Without --pull-request, the text for one is printed.
    """
    target = target or promotion.after(source)
    gh = GitHub(repository.directory) if pull_request else None
    # Fixed here, so that what is pushed is what was inspected.
    seen = repository.resolve(at) if at else _tip(repository, branch)
    moves = promotion.plan(
        repository, source=source, target=target, base=_tip(repository, branch), at=seen
    )
    before: dict[str, Inspection] = {}
    after: dict[str, Inspection] = {}
    if inspect:
        signer = inspection.identity(github_repository, branch)
        with tempfile.TemporaryDirectory(prefix="gitops-scans-") as scratch:
            before, after = _inspected(
                moves, signer=signer, reports=out / "scans" if out else Path(scratch)
            )
    made = promotion.promote(
        repository,
        source=source,
        target=target,
        main=branch,
        at=seen,
        identity=options.who(repository, name, email),
    )
    if made.commit is None or made.overtaken:
        click.echo(_nothing(made))
        return
    title = promotion.title(made)
    text = body.promotion(
        made,
        Evidence(
            commits={move.service: _commits(repository, move) for move in made.moves},
            changes=_rendered(repository, kustomize, made.base, made.commit, target),
            before=before,
            after=after,
        ),
    )
    if out:
        _write(out, title, text, branch=made.branch, returns=made.returns)
    if gh is None:
        click.echo(f"pushed {made.commit[:12]} to {made.branch}\n\n# {title}\n\n{text}")
        return
    request = gh.offer(
        branch=made.branch, base=branch, title=title, body=text, labels=[f"env/{target}"]
    )
    if auto_merge and target != layout.ENVIRONMENTS[-1] and not made.returns:
        gh.merge_when_green(request.number)
    else:
        gh.do_not_merge(request.number)
    click.echo(request.url)


@click.command()
@options.environment("What goes back.")
@click.option("--revert", metavar="REV", help="The change to take back; the last, unless given.")
@options.branch
@click.option("--pull-request", is_flag=True, help="Also open or update its pull request, by gh.")
@options.kustomize
@options.out
@options.identity
@click.pass_obj
def rollback(
    repository: Repository,
    *,
    environment: str,
    revert: str | None,
    branch: str,
    pull_request: bool,
    kustomize: str | None,
    out: Path | None,
    name: str | None,
    email: str | None,
) -> None:
    """Take back the last change of what an environment runs.

    Makes or replaces the branch rollback/ENV, which sets just those pins to what they were before;
    merging it is the way back. Refuses when a later change stands on the one to be reverted.
    """
    gh = GitHub(repository.directory) if pull_request else None
    made = going_back.rollback(
        repository,
        environment=environment,
        main=branch,
        revert=revert or None,
        identity=options.who(repository, name, email),
    )
    title = going_back.title(made)
    rendered = _rendered(repository, kustomize, made.base, made.commit, environment)
    text = body.rollback(made, Evidence(changes=rendered))
    if out:
        _write(out, title, text, branch=made.branch)
    if gh is None:
        click.echo(f"pushed {made.commit[:12]} to {made.branch}\n\n# {title}\n\n{text}")
        return
    request = gh.offer(
        branch=made.branch, base=branch, title=title, body=text, labels=[f"env/{environment}"]
    )
    click.echo(request.url)


def _nothing(made: Promotion) -> str:
    if made.overtaken:
        return f"{made.branch} holds a newer promotion already; left as it is"
    return f"{made.target} runs all that {made.source} runs; nothing to promote"


def _tip(repository: Repository, branch: str) -> str:
    tip = repository.fetch(branch)
    if tip is None:
        raise GitOpsError(f"{repository.remote} has no branch {branch}")
    return tip


def _inspected(
    moves: Sequence[Move], *, signer: str, reports: Path
) -> tuple[dict[str, Inspection], dict[str, Inspection]]:
    """What is known of what runs and of what would; before a push, for it may forbid one."""
    released = [one.before for one in moves if one.before.released]
    # What runs already was verified when it came.
    before = [inspection.inspect(pin, signer=None, reports=reports) for pin in released]
    after = [inspection.inspect(one.after, signer=signer, reports=reports) for one in moves]
    return {one.service: one for one in before}, {one.service: one for one in after}


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
