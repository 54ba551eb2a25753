"""``gitops drift``: the resources of a cluster that differ from git."""

from typing import TextIO

import click

from gitops import drift as reporting
from gitops import drift_report


@click.command()
@click.argument("applications", type=click.File(encoding="utf-8"))
@click.option("--metrics", "as_metrics", is_flag=True, help="Print Prometheus metrics.")
def drift(applications: TextIO, *, as_metrics: bool) -> None:
    """Print the resources that differ from git as a Markdown table.

    APPLICATIONS is the output of `kubectl -n argocd get applications -o json`, or - for the
    standard input.
    """
    document = reporting.load(applications.name, applications.read())
    found = reporting.read(document)
    click.echo(reporting.metrics(found) if as_metrics else drift_report.report(found), nl=False)
