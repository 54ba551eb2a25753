"""The four DORA metrics of an environment, computed from git.

A deployment is a commit on the main branch that changes a pin of the environment. A deployment that
restores a pin which the environment had before is a rollback: it repairs the deployment that it
replaces. Pure.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
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
