"""``gitops gate``: refuse to release an image that has a critical vulnerability with a fix."""

from pathlib import Path

import click

from gitops import scans
from gitops.errors import GitOpsError
from gitops.scans import Finding


class BlockedError(GitOpsError):
    """A check found a problem that must stop the release or be fixed in an environment."""


@click.command()
@click.argument("report", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def gate(report: Path) -> None:
    """Refuse to release an image that has a critical vulnerability with a fix.

    REPORT is the output of `trivy image --format json`. The command prints a summary. The exit
    code is 1 if the report contains a critical vulnerability that an update fixes.
    """
    findings = scans.read(report)
    click.echo(f"{report.name}: {scans.counts(findings)}")
    if blocking := [finding for finding in findings if finding.blocks_release]:
        lines = "\n".join(f"  {describe(finding)}" for finding in blocking)
        raise BlockedError(
            f"critical vulnerabilities with a fix; the image is not released:\n{lines}"
        )


def describe(finding: Finding) -> str:
    """One line about a finding."""
    return f"{finding.identifier}: {finding.package} {finding.installed}, fixed in {finding.fixed}"
