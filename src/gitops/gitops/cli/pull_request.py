"""``gitops pr``: the one pull request of a branch."""

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
    help="A folder with title.txt and body.md, as `gitops promote --out` writes it.",
)
@click.option("--label", "labels", multiple=True, metavar="NAME", help="May be given repeatedly.")
@click.option("--auto-merge", is_flag=True, help="Let it merge itself when all checks pass.")
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
    """Open the pull request of BRANCH, or bring the one that is open up to date. Needs gh."""
    gh = GitHub(repository.directory)
    request = gh.offer(
        branch=head,
        base=branch,
        title=(folder / "title.txt").read_text(encoding="utf-8").strip(),
        body=(folder / "body.md").read_text(encoding="utf-8"),
        labels=labels,
    )
    if auto_merge:
        gh.merge_when_green(request.number)
    click.echo(request.url)
