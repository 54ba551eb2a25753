"""``gitops pins`` and ``gitops diff``: what runs, and what a change would make of it."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from gitops import layout, markdown, render
from gitops import pins as pinned
from gitops.cli import options
from gitops.git import Repository
from gitops.manifests import Change


@click.command()
@click.option("--at", metavar="REV", default="HEAD", show_default=True, help="By which commit.")
@click.option("--json", "as_json", is_flag=True, help="With images and digests, as JSON.")
@click.pass_obj
def pins(repository: Repository, at: str, as_json: bool) -> None:
    """What each environment runs."""
    commit = repository.resolve(at)
    found = {one: pinned.of(repository, commit, one) for one in layout.ENVIRONMENTS}
    if as_json:
        said = {
            environment: {service: vars(pin) for service, pin in by_service.items()}
            for environment, by_service in found.items()
        }
        click.echo(json.dumps(said, indent=2))
        return
    table = Table("service", *layout.ENVIRONMENTS)
    for service in layout.SERVICES:
        cells = (found[one][service] for one in layout.ENVIRONMENTS)
        table.add_row(service, *(pin.tag[:12] if pin.released else "-" for pin in cells))
    _console().print(table)


@click.command()
@click.option("--base", metavar="REV", required=True, help="What it is compared with.")
@click.option("--head", metavar="REV", default="HEAD", show_default=True, help="What is looked at.")
@click.option(
    "--limit", default=markdown.LIMIT, show_default=True,
    help="So many characters at most, for GitHub's comments.",
)  # fmt: skip
@options.kustomize
@options.out
@click.pass_obj
def diff(
    repository: Repository,
    *,
    base: str,
    head: str,
    limit: int,
    kustomize: str | None,
    out: Path | None,
) -> None:
    """What a change makes of each environment, rendered, as Markdown.

    Compares with the last commit that BASE and HEAD share. With --out, writes difference.md and
    environments.json (the names of those that change).
    """
    start, end = repository.merge_base(base, head), repository.resolve(head)
    with render.Renderer(repository, render.program(kustomize)) as renderer:
        found = render.differences(renderer, start, end)
    text = _text(found, limit)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "difference.md").write_text(text, encoding="utf-8")
        (out / "environments.json").write_text(json.dumps(list(found)), encoding="utf-8")
    click.echo(text, nl=False)


@click.command("render")
@click.option("--at", metavar="REV", default="HEAD", show_default=True, help="By which commit.")
@options.kustomize
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write to: a file for each environment.",
)
@click.pass_obj
def render_(repository: Repository, *, at: str, kustomize: str | None, out: Path) -> None:
    """What Argo CD would apply, for tools that read manifests. Values of Secrets are masked."""
    out.mkdir(parents=True, exist_ok=True)
    with render.Renderer(repository, render.program(kustomize)) as renderer:
        for environment in layout.ENVIRONMENTS:
            objects = renderer.objects(at, environment)
            file = out / f"{environment}.yaml"
            file.write_text("---\n".join(objects.values()), encoding="utf-8")
            click.echo(f" • {file}: {len(objects)} objects")


def _text(found: dict[str, tuple[Change, ...]], limit: int) -> str:
    if not found:
        return "No environment changes: each renders as before.\n"
    sections = [
        f"### {environment}: {_counts(changes)}\n\n"
        f"{markdown.difference(changes, limit=limit // len(found) - 4000)}"
        for environment, changes in found.items()
    ]
    return "\n\n".join(sections) + "\n"


def _counts(changes: tuple[Change, ...]) -> str:
    kinds = {"changed": 0, "added": 0, "removed": 0}
    for change in changes:
        kinds[change.kind] += 1
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)


def _console() -> Console:
    # Without a terminal, rich would take it to be 80 columns wide.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)
