"""``gitops annotate``: what CI found out, on the pull request."""

import json
from pathlib import Path

import click

from gitops import layout, markdown
from gitops.errors import GitOpsError
from gitops.git import Repository
from gitops.github import GitHub

_LABELS = tuple(f"env/{environment}" for environment in layout.ENVIRONMENTS)


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="What `gitops diff --out` wrote.",
)
@click.pass_obj
def annotate(repository: Repository, number: int, folder: Path) -> None:
    """Put the rendered difference on a pull request, and the labels of what changes.

    One comment, brought up to date in place. What is in FOLDER may come from anybody's change, so
    it is text and nothing else: bounded, and its environments are looked up among ours.
    """
    text = (folder / "difference.md").read_text(encoding="utf-8", errors="replace")
    environments = _environments(folder / "environments.json")
    gh = GitHub(repository.directory)
    body = text if len(text) <= markdown.LIMIT + 4000 else "The rendered difference is too long."
    gh.comment(number, key="rendered-difference", body=f"## What this changes\n\n{body}")
    gh.label(number, wanted=[f"env/{one}" for one in environments], known=_LABELS)


def _environments(file: Path) -> list[str]:
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
        return [one for one in layout.ENVIRONMENTS if one in names]
    except (ValueError, TypeError) as error:
        raise GitOpsError(f"{file} is not what gitops diff writes ({error})") from None
