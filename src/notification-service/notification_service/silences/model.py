"""Silences: which alerts they hide, and when. Pure."""

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.relativedelta import relativedelta
from dateutil.rrule import rrule, rrulestr
from msgspec import Struct

from auditflow.errors import AuditFlowError
from notification_service.routing.matchers import Matcher, all_match

#: Parts of a recurrence rule that are allowed. Others cost much time to expand. ``ends_at`` ends a
#: silence.
_PARTS: Final = ("FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "BYMONTH", "WKST")
#: Frequencies, and the field of ``relativedelta`` for each.
_FREQUENCIES: Final = {"DAILY": "days", "WEEKLY": "weeks", "MONTHLY": "months", "YEARLY": "years"}
MAX_RULE: Final = 200
#: A rule must have an occurrence within this time of its start.
_HORIZON: Final = dt.timedelta(days=2 * 366)
LONGEST_OCCURRENCE: Final = dt.timedelta(days=31)


class RecurrenceError(AuditFlowError):
    """A recurrence rule cannot be used. The text states why."""


class Silence(Struct, frozen=True, kw_only=True):
    """Hides the alerts that match, from ``starts_at`` to ``ends_at``.

    With a recurrence, it hides them during each occurrence of ``duration``, the first of which
    begins at ``starts_at``. ``ends_at`` None: until it is cancelled. ``until_resolved`` names an
    alert, with whose resolution the silence ends.
    """

    silence_id: UUID
    matchers: tuple[Matcher, ...]
    author: str
    reason: str
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    recurrence: str | None = None
    duration: dt.timedelta | None = None
    time_zone: str = "UTC"
    until_resolved: UUID | None = None
    external_id: str | None = None
    created_at: dt.datetime
    cancelled_at: dt.datetime | None = None
    cancelled_by: str | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about an alert with these labels, at whatever time."""
        return all_match(self.matchers, labels)

    def active_until(self, at: dt.datetime) -> dt.datetime | None:
        """When the silence that is active at a time ends; None when it is not active.

        A silence without an end is active until the end of time (``datetime.max``).
        """
        if self.cancelled_at is not None and at >= self.cancelled_at:
            return None
        if at < self.starts_at or (self.ends_at is not None and at >= self.ends_at):
            return None
        last = self.ends_at or dt.datetime.max.replace(tzinfo=dt.UTC)
        if self.recurrence is None or self.duration is None:
            return last
        began = occurrence_before(self.recurrence, self.starts_at, self.time_zone, at)
        if began is None or at >= began + self.duration:
            return None
        return min(last, began + self.duration)


def check_recurrence(rule: str, starts_at: dt.datetime, zone: str, duration: dt.timedelta) -> None:
    """Check that a rule can be used.

    Raises:
        RecurrenceError: it is not a rule, it repeats too often, or it never occurs.
    """
    parts = _parts(rule)
    if len(rule) > MAX_RULE or not rule.isascii() or any(letter.isspace() for letter in rule):
        raise RecurrenceError(f"the rule must have at most {MAX_RULE} letters and no spaces")
    for part in parts:
        if part not in _PARTS:
            raise RecurrenceError(f"{part[:20]!r} is not allowed; use {', '.join(_PARTS)}")
    if parts.get("FREQ") not in _FREQUENCIES:
        raise RecurrenceError(f"FREQ must be one of {', '.join(_FREQUENCIES)}")
    if not dt.timedelta() < duration <= LONGEST_OCCURRENCE:
        raise RecurrenceError(f"an occurrence takes at most {LONGEST_OCCURRENCE.days} days")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RecurrenceError(f"{zone[:60]!r} is not a time zone") from None
    try:
        if not 1 <= int(parts.get("INTERVAL", "1")) <= 100:
            raise ValueError  # noqa: TRY301 - as the errors of the library
        first = next(iter(_rule(rule, starts_at, zone, starts_at + _HORIZON)), None)
    except (ValueError, KeyError, TypeError, OverflowError):
        raise RecurrenceError("the rule is not an RRULE, such as FREQ=WEEKLY;BYDAY=SU") from None
    if first is None:
        raise RecurrenceError("the rule does not occur within two years")


def occurrence_before(
    rule: str, starts_at: dt.datetime, zone: str, at: dt.datetime
) -> dt.datetime | None:
    """The begin of the last occurrence at or before a time, in UTC; None without one."""
    local = ZoneInfo(zone)
    found: dt.datetime | None = None
    for occurrence in _rule(rule, starts_at, zone, at):
        begin = occurrence.replace(tzinfo=local).astimezone(dt.UTC)
        if begin > at:
            break
        found = begin
    return found


def backwards(silence: Silence, days: int, now: dt.datetime) -> Silence:
    """The silence as if it had begun at least ``days`` days ago, with no end.

    The preview uses it: which alerts would it have hidden, had it been there? A recurrence keeps
    its rhythm.
    """
    target = now - dt.timedelta(days=days)
    begin = min(silence.starts_at, target)
    if silence.recurrence is not None:
        parts = _parts(silence.recurrence)
        step = {_FREQUENCIES[parts["FREQ"]]: int(parts.get("INTERVAL", "1"))}
        local = silence.starts_at.astimezone(ZoneInfo(silence.time_zone))
        count = 0
        while local - count * relativedelta(**step) > target:  # type: ignore[arg-type]
            count += 1
        begin = local - count * relativedelta(**step)  # type: ignore[arg-type]
    values = {name: getattr(silence, name) for name in silence.__struct_fields__}
    return Silence(**{**values, "starts_at": begin.astimezone(dt.UTC), "ends_at": None})


def _parts(rule: str) -> dict[str, str]:
    return {name: value for name, _, value in (p.partition("=") for p in rule.upper().split(";"))}


@lru_cache(maxsize=1_000)
def _parsed(rule: str, start: dt.datetime, until: dt.datetime) -> rrule:
    parsed = rrulestr(rule.upper(), dtstart=start)
    assert isinstance(parsed, rrule)
    return parsed.replace(until=until)


def _rule(rule: str, starts_at: dt.datetime, zone: str, until: dt.datetime) -> rrule:
    """The occurrences as local times without a zone, so that 02:00 stays 02:00 in summer."""
    local = ZoneInfo(zone)
    start = starts_at.astimezone(local).replace(tzinfo=None)
    # A day more than asked, since the clock may be set back, and rounded, for the cache.
    end = until.astimezone(local).replace(tzinfo=None, microsecond=0, second=0, minute=0, hour=0)
    return _parsed(rule, start, end + dt.timedelta(days=2))
