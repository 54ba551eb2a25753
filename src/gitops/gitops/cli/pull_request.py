"""``gitops pr``: create or update the pull request of a branch."""

from pathlib import Path

import click

from gitops.cli import options
from gitops.git import Repository
from gitops.github import GitHub


@click.command()
@click.argument("head", metavar="BRANCH")
@options.branch
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="A folder with title.txt and body.md, as written by `gitops promote --out`.",
)
@click.option("--label", "labels", multiple=True, metavar="NAME", help="A label. Repeatable.")
@click.option("--auto-merge", is_flag=True, help="Merge automatically when all checks pass.")
@click.pass_obj
def pr(
    repository: Repository,
    *,
    head: str,
    branch: str,
    folder: Path,
    labels: tuple[str, ...],
    auto_merge: bool,
) -> None:
    """Create the pull request of BRANCH, or update the open one. Requires gh."""
    gh = GitHub(repository.directory)
    request = gh.create_or_update(
        branch=head,
        base=branch,
        title=(folder / "title.txt").read_text(encoding="utf-8").strip(),
        body=(folder / "body.md").read_text(encoding="utf-8"),
        labels=labels,
    )
    if auto_merge:
        gh.enable_auto_merge(request.number)
    click.echo(request.url)
