"""``gitops charts``: render the charts of Applications, and refuse values that they ignore."""

import re
from pathlib import Path

import click

from gitops import chart_values, manifests, markdown
from gitops import charts as applications
from gitops.charts import Chart
from gitops.cli import options
from gitops.errors import GitOpsError
from gitops.git import Repository
from gitops.helm import Helm

#: The file with the version of K3s on the nodes, for charts that depend on it.
_NODES = "infra/ansible/roles/k3s_binary/defaults/main.yaml"
_VERSION = re.compile(rb"^k3s_binary_version: (v[0-9.]+)\+k3s", re.MULTILINE)
_FOLDERS = ("clusters", "monitoring")


class IgnoredValuesError(GitOpsError):
    """A chart ignores values. The text lists them."""

    def __init__(self, by_application: dict[str, tuple[str, ...]]) -> None:
        lines = [
            f"    {application}: {value}"
            for application, values in by_application.items()
            for value in values
        ]
        super().__init__("charts ignore these values. Remove or correct them:\n" + "\n".join(lines))
        self.by_application = by_application


@click.command()
@click.option(
    "--base", metavar="REV", help="Only charts that differ from the merge base of this revision."
)
@click.option(
    "--head", metavar="REV", default="HEAD", show_default=True, help="The revision to check."
)
@click.option("--helm", metavar="PROGRAM", help="The path of helm (default: helm on PATH).")
@options.out
@click.pass_obj
def charts(
    repository: Repository, *, base: str | None, head: str, helm: str | None, out: Path | None
) -> None:
    """Render charts at their pinned versions with our values, and refuse values that they ignore.

    With --base, the command prints the rendered difference as Markdown, and --out writes it to
    charts.md. Requires helm and access to the repositories of the charts.
    """
    end = repository.resolve(head)
    after = _charts(repository, end)
    before = _charts(repository, repository.merge_base(base, end)) if base else {}
    affected = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
    nodes = _VERSION.search(repository.read(end, _NODES) or b"")
    with Helm(helm, kubernetes=nodes[1].decode() if nodes else None) as program:
        if base:
            text = _difference(program, before, after, affected)
            if out:
                out.mkdir(parents=True, exist_ok=True)
                (out / "charts.md").write_text(text, encoding="utf-8")
            click.echo(text, nl=False)
        ignored: dict[str, tuple[str, ...]] = {}
        for name in affected:
            if chart := after.get(name):
                found = _ignored(program, chart)
                click.echo(f" • {name}: {chart.name} {chart.version}, {len(found)} ignored values")
                ignored |= {name: found} if found else {}
    if ignored:
        raise IgnoredValuesError(ignored)


def _charts(repository: Repository, commit: str) -> dict[str, Chart]:
    paths = [name for name in repository.files(commit, *_FOLDERS) if name.endswith(".yaml")]
    files = [(path, repository.read(commit, path) or b"") for path in paths]
    found = applications.of_files(files, lambda path: repository.read(commit, path))
    return {chart.application: chart for chart in found}


def _ignored(program: Helm, chart: Chart) -> tuple[str, ...]:
    program.render(chart)  # An error of our own values is reported with the output of helm.
    return chart_values.ignored(chart.values, lambda values: program.accepts(chart, values))


def _difference(
    program: Helm, before: dict[str, Chart], after: dict[str, Chart], affected: list[str]
) -> str:
    if not affected:
        return "No chart changes.\n"
    sections = []
    for name in affected:
        old, new = before.get(name), after.get(name)
        changes = manifests.changes(
            manifests.objects(program.render(old)) if old else {},
            manifests.objects(program.render(new)) if new else {},
        )
        versions = " → ".join(dict.fromkeys(c.version if c else "none" for c in (old, new)))
        content = markdown.difference(changes, limit=markdown.LIMIT // len(affected) - 1000)
        sections.append(
            f"### {name}: {versions}, {len(changes)} objects differ\n\n{content}".rstrip()
        )
    return "\n\n".join(sections) + "\n"
