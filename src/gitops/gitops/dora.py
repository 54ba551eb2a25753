"""The four DORA metrics of an environment, computed from git.

A deployment is a commit on the main branch that changes a pin of the environment. A deployment that
restores a pin which the environment had before is a rollback: it repairs the deployment that it
replaces. Pure.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

_SECONDS_PER_HOUR: Final = 3600.0


@dataclass(frozen=True)
class PinChange:
    """A new pin of a service. Times are in seconds since 1970."""

    service: str
    digest: str
    #: When the commit of the image was written. None: the commit is not known.
    written_at: float | None


@dataclass(frozen=True)
class Deployment:
    """A commit that changed pins."""

    at: float
    changes: tuple[PinChange, ...]
    commit: str = ""


@dataclass(frozen=True)
class Sync:
    """A completed sync in the history of an Application, in seconds since 1970."""

    revision: str
    at: float


@dataclass(frozen=True)
class Service:
    """What Argo CD reports about the Application of a service.

    Attributes:
        syncs: oldest first. Argo CD keeps the last ten.
        complete: whether ``syncs`` starts with the first sync of the Application.
        healthy: whether the newest sync is Healthy.
    """

    syncs: tuple[Sync, ...]
    complete: bool
    healthy: bool


@dataclass(frozen=True)
class Metrics:
    """The four metrics of a period. None: there was nothing to measure."""

    deployments: int
    lead_time_hours: float | None
    failure_ratio: float | None
    restore_hours: float | None
    rollbacks: int


def measure(history: Sequence[Deployment], *, start: float, end: float) -> Metrics:
    """The metrics of the deployments with ``start <= at < end``.

    Args:
        start: seconds since 1970.
        end: seconds since 1970.
        history: all deployments from the first one, oldest first, so that a rollback is recognised.
    """
    seen: dict[str, set[str]] = {}
    current: dict[str, float] = {}
    deployments = rollbacks = 0
    lead_times, restore_times = [], []
    for deployment in history:
        in_period = start <= deployment.at < end
        is_rollback = any(
            change.digest in seen.get(change.service, ()) for change in deployment.changes
        )
        if in_period and is_rollback:
            rollbacks += 1
            replaced = [
                current[change.service]
                for change in deployment.changes
                if change.service in current
            ]
            restore_times += [deployment.at - max(replaced)] if replaced else []
        elif in_period:
            deployments += 1
            lead_times += [
                deployment.at - change.written_at
                for change in deployment.changes
                if change.written_at is not None and change.written_at <= deployment.at
            ]
        for change in deployment.changes:
            seen.setdefault(change.service, set()).add(change.digest)
            current[change.service] = deployment.at
    return Metrics(
        deployments=deployments,
        lead_time_hours=_median_hours(lead_times),
        failure_ratio=rollbacks / deployments if deployments else None,
        restore_hours=_median_hours(restore_times),
        rollbacks=rollbacks,
    )


def completed(
    history: Sequence[Deployment],
    services: Mapping[str, Service],
    contains: Callable[[str, str], bool],
) -> tuple[Deployment, ...]:
    """The deployments that run and are Healthy, at the time when Argo CD completed them.

    A deployment that is older than Argo CD's history keeps the time of its commit. A deployment
    that is not synced, or whose newest sync is not Healthy, is left out.

    Args:
        contains: whether the second commit contains the first one.
    """
    found = []
    for deployment in history:
        times = [
            _completed_at(deployment, services.get(change.service), contains)
            for change in deployment.changes
        ]
        known = [at for at in times if at is not None]
        if len(known) == len(times):
            found.append(replace(deployment, at=max(deployment.at, *known)))
    return tuple(sorted(found, key=lambda deployment: deployment.at))


def _completed_at(
    deployment: Deployment, service: Service | None, contains: Callable[[str, str], bool]
) -> float | None:
    syncs = service.syncs if service else ()
    for number, sync in enumerate(syncs):
        if contains(deployment.commit, sync.revision):
            if number == 0 and not (service and service.complete):
                return deployment.at
            is_newest = number == len(syncs) - 1
            return sync.at if not is_newest or (service and service.healthy) else None
    return None


def prometheus_text(environment: str, metrics: Metrics) -> str:
    """The metrics of the last 30 days for the textfile collector of node_exporter."""
    hours = _SECONDS_PER_HOUR
    values = (
        ("deployments", "Deployments", metrics.deployments),
        ("rollbacks", "Deployments that were rolled back", metrics.rollbacks),
        ("lead_time_seconds", "Median time from the commit of an image to its deployment",
         None if metrics.lead_time_hours is None else metrics.lead_time_hours * hours),
        ("restore_seconds", "Median time from a failed deployment to its rollback",
         None if metrics.restore_hours is None else metrics.restore_hours * hours),
    )  # fmt: skip
    lines = []
    for name, meaning, value in values:
        if value is not None:
            lines += [
                f"# HELP auditflow_dora_{name} {meaning}, in the last 30 days.",
                f"# TYPE auditflow_dora_{name} gauge",
                f'auditflow_dora_{name}{{environment="{environment}"}} {value}',
            ]
    return "\n".join(lines) + "\n"


def _median_hours(seconds: Sequence[float]) -> float | None:
    return statistics.median(seconds) / _SECONDS_PER_HOUR if seconds else None


def report(environment: str, months: Sequence[tuple[str, Metrics]]) -> str:
    """A Markdown table with a line for each month."""
    lines = [
        f"# Delivery of {environment}",
        "",
        "| month | deployments | median lead time | failed deployments | median time to restore |",
        "|---|---|---|---|---|",
    ]
    for month, metrics in months:
        share = metrics.failure_ratio
        failed = "-" if share is None else f"{metrics.rollbacks} ({share:.0%})"
        lines.append(
            f"| {month} | {metrics.deployments} | {_hours(metrics.lead_time_hours)} | {failed} |"
            f" {_hours(metrics.restore_hours)} |"
        )
    return "\n".join([*lines, ""])


def _hours(hours: float | None) -> str:
    return "-" if hours is None else f"{hours:.1f} h"
