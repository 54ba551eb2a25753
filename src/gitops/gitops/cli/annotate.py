"""``gitops annotate``: write CI's results to the pull request."""

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
    help="The folder that `gitops diff --out` and `gitops charts --out` wrote.",
)
@click.pass_obj
def annotate(repository: Repository, number: int, folder: Path) -> None:
    """Write the rendered difference and the environment labels to a pull request.

    The command updates one comment in place. The files in FOLDER can come from an untrusted pull
    request: their size is limited, and only known environment names are used.
    """
    text = (folder / "difference.md").read_text(encoding="utf-8", errors="replace")
    environments = _environments(folder / "environments.json")
    gh = GitHub(repository.directory)
    body = text if len(text) <= markdown.LIMIT + 4000 else "The rendered difference is too long."
    gh.comment(number, key="rendered-difference", body=f"## Rendered difference\n\n{body}")
    charts = folder / "charts.md"
    if charts.is_file():
        text = charts.read_text(encoding="utf-8", errors="replace")
        body = text if len(text) <= markdown.LIMIT + 4000 else "The difference is too long."
        gh.comment(number, key="chart-difference", body=f"## Difference of charts\n\n{body}")
    gh.label(number, wanted=[f"env/{name}" for name in environments], known=_LABELS)


def _environments(file: Path) -> list[str]:
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
        return [name for name in layout.ENVIRONMENTS if name in names]
    except (ValueError, TypeError) as error:
        raise GitOpsError(f"{file} was not written by gitops diff ({error})") from None
