"""``gitops dora``: the four DORA metrics of an environment by month."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TextIO

import click

from gitops import drift, layout, pin
from gitops.cli import options
from gitops.dora import (
    Deployment,
    PinChange,
    completed,
    measure,
    prometheus_text,
    report,
)
from gitops.errors import GitOpsError, InvalidPinError, UnknownRevisionError
from gitops.git import Repository


@click.command()
@options.environment("The environment to report.")
@click.option(
    "--months",
    type=click.IntRange(1, 36),
    default=6,
    show_default=True,
    help="The number of months.",
)
@click.option(
    "--applications",
    type=click.File(encoding="utf-8"),
    help="The output of `kubectl -n argocd get applications -o json`, or -.",
)
@click.option("--metrics", "as_metrics", is_flag=True, help="Print Prometheus metrics of 30 days.")
@options.branch
@click.pass_obj
def dora(
    repository: Repository,
    *,
    environment: str,
    months: int,
    applications: TextIO | None,
    as_metrics: bool,
    branch: str,
) -> None:
    """Print deployments, lead time, failed deployments and time to restore as a Markdown table.

    A deployment counts when its commit is merged; with --applications, when Argo CD completed it
    and it is Healthy. A commit that restores an earlier image is a rollback, and the deployment
    before it counts as failed.
    """
    tip = repository.fetch(branch)
    if tip is None:
        raise GitOpsError(f"{repository.remote} has no branch {branch}")
    history = deployments(repository, tip, environment)
    if applications:
        services = drift.services(drift.load(applications.name, applications.read()), environment)
        history = list(completed(history, services, _contains(repository)))
    now = datetime.now(UTC)
    if as_metrics:
        end, start = now.timestamp(), (now - timedelta(days=30)).timestamp()
        metrics = measure(history, start=start, end=end)
        click.echo(prometheus_text(environment, metrics), nl=False)
        return
    periods = _months(now, months)
    monthly = [
        (f"{start:%Y-%m}", measure(history, start=start.timestamp(), end=end.timestamp()))
        for start, end in periods
    ]
    click.echo(report(environment, monthly), nl=False)


def deployments(repository: Repository, tip: str, environment: str) -> list[Deployment]:
    """The deployments of an environment, oldest first."""
    paths = {layout.release(service, environment): service for service in layout.SERVICES}
    current: dict[str, str] = {}
    found = []
    for entry in reversed(repository.log(None, tip, *paths, limit=10_000, first_parent=True)):
        changes = []
        for path, service in paths.items():
            content = repository.read(entry.commit, path)
            try:
                pinned = pin.read(content, path=path) if content else None
            except InvalidPinError:
                continue
            if pinned and pinned.released and current.get(service) != pinned.digest:
                current[service] = pinned.digest
                written_at = repository.committed_at(pinned.tag)
                changes.append(PinChange(service, pinned.digest, written_at))
        committed_at = repository.committed_at(entry.commit)
        if changes and committed_at is not None:
            found.append(Deployment(committed_at, tuple(changes), entry.commit))
    return found


def _contains(repository: Repository) -> Callable[[str, str], bool]:
    @cache
    def contains(older: str, newer: str) -> bool:
        try:
            return repository.is_ancestor(older, newer)
        except UnknownRevisionError:
            return False  # the history was rewritten

    return contains


def _months(now: datetime, count: int) -> list[tuple[datetime, datetime]]:
    """The start and the end of the last months, oldest first. The last one is the current month."""
    end = _following(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    found = []
    for _ in range(count):
        month = end.month - 1 or 12
        start = end.replace(year=end.year - (end.month == 1), month=month)
        found.append((start, end))
        end = start
    return found[::-1]


def _following(month: datetime) -> datetime:
    return month.replace(year=month.year + (month.month == 12), month=month.month % 12 + 1)
