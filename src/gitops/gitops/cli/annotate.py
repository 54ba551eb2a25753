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
    help="The folder that `gitops diff --out` and `gitops charts --out` wrote.",
)
@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The output of `auditflow rules compare`.",
)
@click.pass_obj
def annotate(repository: Repository, number: int, folder: Path | None, rules: Path | None) -> None:
    """Write the rendered difference and the environment labels to a pull request.

    The command updates one comment in place, and another one for --rules. The files can come from
    an untrusted pull request: their size is limited, and only known environment names are used.
    """
    if folder is None and rules is None:
        raise click.UsageError("give --from or --rules")
    gh = GitHub(repository.directory)
    if folder is not None:
        _difference(gh, number, folder)
    if rules is not None:
        text = rules.read_text(encoding="utf-8", errors="replace")
        body = text if len(text) <= markdown.LIMIT else "The comparison of the rules is too long."
        gh.comment(number, key="rules", body=body)


def _difference(gh: GitHub, number: int, folder: Path) -> None:
    text = (folder / "difference.md").read_text(encoding="utf-8", errors="replace")
    environments = _environments(folder / "environments.json")
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
