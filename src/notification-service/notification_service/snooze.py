"""Snoozing: until a time, or until the event rate of an alert exceeds its past rate."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, Protocol

#: The period that a rate is measured over is at least this long, so that two events in one second
#: are not a rate of 7,200 per hour.
MIN_RATE_PERIOD: Final = dt.timedelta(hours=1)
#: Longest snooze.
MAX_SNOOZE: Final = dt.timedelta(days=366)
#: Field values of an alert that is not snoozed.
NO_SNOOZE: Final[Mapping[str, Any]] = {
    "snoozed_until": None,
    "snoozed_until_escalation": False,
    "snoozed_at": None,
    "snoozed_count": None,
}


class Snoozed(Protocol):
    """The fields of an alert that state whether it is snoozed."""

    @property
    def snoozed_until(self) -> dt.datetime | None: ...
    @property
    def snoozed_until_escalation(self) -> bool: ...


class Snoozable(Snoozed, Protocol):
    """The fields of an alert that the event rates are computed from."""

    @property
    def count(self) -> int: ...
    @property
    def first_seen(self) -> dt.datetime: ...
    @property
    def snoozed_at(self) -> dt.datetime | None: ...
    @property
    def snoozed_count(self) -> int | None: ...


def is_snoozed(alert: Snoozed, now: dt.datetime) -> bool:
    """Whether the alert is snoozed at this time."""
    if alert.snoozed_until_escalation:
        return True
    return alert.snoozed_until is not None and alert.snoozed_until > now


def has_escalated(alert: Snoozable, now: dt.datetime) -> bool:
    """Whether an alert that is snoozed until escalation has a higher event rate than before.

    The past rate is the number of events before the snooze, divided by the time from the first
    event to the snooze. The current rate is the number of events since, divided by the time since.
    """
    if not alert.snoozed_until_escalation or alert.snoozed_at is None:
        return False
    before = alert.snoozed_count or 0
    past_period = max(alert.snoozed_at - alert.first_seen, MIN_RATE_PERIOD)
    current_period = max(now - alert.snoozed_at, MIN_RATE_PERIOD)
    return (alert.count - before) / current_period.total_seconds() > (
        before / past_period.total_seconds()
    )
