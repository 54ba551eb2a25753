"""``gitops pins``, ``diff``, ``render`` and ``inspect``: commands that only read."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from gitops import inspection, layout, markdown, render, scans
from gitops import pins as pinned
from gitops.cli import options
from gitops.cli.gate import BlockedError, describe
from gitops.git import Repository
from gitops.inspection import NotSignedError
from gitops.manifests import Change


@click.command()
@click.option("--at", metavar="REV", default="HEAD", show_default=True, help="The commit to read.")
@click.option("--json", "as_json", is_flag=True, help="Print images and digests as JSON.")
@click.pass_obj
def pins(repository: Repository, at: str, as_json: bool) -> None:
    """Print the version of each service in each environment."""
    commit = repository.resolve(at)
    by_environment = {name: pinned.of(repository, commit, name) for name in layout.ENVIRONMENTS}
    if as_json:
        document = {
            environment: {service: vars(pin) for service, pin in by_service.items()}
            for environment, by_service in by_environment.items()
        }
        click.echo(json.dumps(document, indent=2))
        return
    table = Table("service", *layout.ENVIRONMENTS)
    for service in layout.SERVICES:
        row = (by_environment[name][service] for name in layout.ENVIRONMENTS)
        table.add_row(service, *(pin.tag[:12] if pin.released else "-" for pin in row))
    _console().print(table)


@click.command()
@click.option("--base", metavar="REV", required=True, help="The revision to compare with.")
@click.option(
    "--head", metavar="REV", default="HEAD", show_default=True, help="The revision to check."
)
@click.option(
    "--limit", default=markdown.LIMIT, show_default=True,
    help="The maximum number of characters, for GitHub's comments.",
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
    """Print the rendered difference of each environment as Markdown.

    The command compares HEAD with the merge base of BASE and HEAD. With --out, it writes
    difference.md and environments.json (the names of the changed environments).
    """
    start, end = repository.merge_base(base, head), repository.resolve(head)
    with render.Renderer(repository, render.program(kustomize)) as renderer:
        differences = render.differences(renderer, start, end)
    text = _text(differences, limit)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "difference.md").write_text(text, encoding="utf-8")
        (out / "environments.json").write_text(json.dumps(list(differences)), encoding="utf-8")
    click.echo(text, nl=False)


@click.command("render")
@click.option("--at", metavar="REV", default="HEAD", show_default=True, help="The commit to read.")
@options.kustomize
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The output folder: one file for each environment.",
)
@click.pass_obj
def render_(repository: Repository, *, at: str, kustomize: str | None, out: Path) -> None:
    """Write the manifests that Argo CD applies, for other tools. Values of Secrets are masked."""
    out.mkdir(parents=True, exist_ok=True)
    with render.Renderer(repository, render.program(kustomize)) as renderer:
        for environment in layout.ENVIRONMENTS:
            objects = renderer.objects(at, environment)
            file = out / f"{environment}.yaml"
            file.write_text("---\n".join(objects.values()), encoding="utf-8")
            click.echo(f" • {file}: {len(objects)} objects")


@click.command()
@options.environment("The environment whose images are checked.")
@click.option("--at", metavar="REV", default="HEAD", show_default=True, help="The commit to read.")
@options.repository
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports"),
    show_default=True,
    help="The output folder for the reports of Trivy.",
)
@click.pass_obj
def inspect(
    repository: Repository, environment: str, at: str, github_repository: str, out: Path
) -> None:
    """Verify and scan the images that an environment runs.

    The exit code is 1 if an image is not signed by this repository's build on main, or has a
    critical vulnerability that an update fixes. Requires cosign and trivy.
    """
    signer = inspection.identity(github_repository)
    problems: list[str] = []
    for pin in pinned.of(repository, repository.resolve(at), environment).values():
        if not pin.released:
            click.echo(f" • {pin.service}: not released yet")
            continue
        try:
            inspected = inspection.inspect(pin, signer=signer, reports=out)
        except NotSignedError as error:
            problems.append(str(error))
            click.echo(f" • {pin.service}: not signed by this repository")
            continue
        click.echo(f" • {pin.service}: signed; {scans.counts(inspected.findings)}")
        problems += [
            f"{pin.service}: {describe(finding)}"
            for finding in inspected.findings
            if finding.blocks_release
        ]
    if problems:
        raise BlockedError(f"{environment} runs images with problems:\n" + "\n".join(problems))


def _text(differences: dict[str, tuple[Change, ...]], limit: int) -> str:
    if not differences:
        return "No environment changes: the rendered manifests are the same.\n"
    sections = [
        f"### {environment}: {_counts(changes)}\n\n"
        f"{markdown.difference(changes, limit=limit // len(differences) - 4000)}"
        for environment, changes in differences.items()
    ]
    return "\n\n".join(sections) + "\n"


def _counts(changes: tuple[Change, ...]) -> str:
    kinds = {"changed": 0, "added": 0, "removed": 0}
    for change in changes:
        kinds[change.kind] += 1
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)


def _console() -> Console:
    # Without a terminal, rich assumes 80 columns.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)
