"""``gitops gate`` and ``gitops inspect``: what must not be released, or run any longer."""

from pathlib import Path

import click

from gitops import inspection, scans
from gitops import pins as pinned
from gitops.cli import options
from gitops.errors import GitOpsError
from gitops.git import Repository
from gitops.inspection import NotSignedError
from gitops.scans import Finding


class StoppedError(GitOpsError):
    """Something was found that must not go on."""


@click.command()
@click.argument("report", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def gate(report: Path) -> None:
    """Stop a release for what is critical and could be mended.

    REPORT is what `trivy image --format json` wrote. All that it found is summed up; the exit code
    is 1 when a critical vulnerability is among it that an update would mend.
    """
    found = scans.read(report)
    click.echo(f"{report.name}: {scans.counts(found)}")
    if stopping := [one for one in found if one.stops]:
        lines = "\n".join(f"  {_said(one)}" for one in stopping)
        raise StoppedError(f"critical, and an update mends it; the image is not released:\n{lines}")


@click.command()
@options.environment("Whose images.")
@click.option("--at", metavar="REV", default="HEAD", show_default=True, help="By which commit.")
@options.repository
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports"),
    show_default=True,
    help="Where the reports of Trivy go.",
)
@click.pass_obj
def inspect(
    repository: Repository, environment: str, at: str, github_repository: str, out: Path
) -> None:
    """Verify and scan the images that an environment runs, as they are today.

    The exit code is 1 when one is not signed by this repository's build on main, or has a critical
    vulnerability that an update would mend. Needs cosign and trivy.
    """
    signer = inspection.identity(github_repository)
    wrong: list[str] = []
    for pin in pinned.of(repository, repository.resolve(at), environment).values():
        if not pin.released:
            click.echo(f" • {pin.service}: not released yet")
            continue
        try:
            one = inspection.inspect(pin, signer=signer, reports=out)
        except NotSignedError as error:
            wrong.append(str(error))
            click.echo(f" • {pin.service}: not signed by us")
            continue
        click.echo(f" • {pin.service}: signed; {scans.counts(one.findings)}")
        wrong += [f"{pin.service}: {_said(found)}" for found in one.findings if found.stops]
    if wrong:
        raise StoppedError(f"{environment} runs what it should not:\n" + "\n".join(wrong))


def _said(one: Finding) -> str:
    return f"{one.identifier}: {one.package} {one.installed}, mended in {one.fixed}"
