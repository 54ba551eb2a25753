"""When a group of alerts is notified, and about which alerts. Pure.

A group belongs to one route. A flush examines its alerts one by one, so that a group of any size
needs little memory. What the receiver was told last is kept per alert: the same state of an alert
is notified once, whatever is delivered again or restarted.
"""

import datetime as dt
from enum import StrEnum
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from auditflow.contract.alert import Status
from notification_service.routing.tree import Route

#: How long a hidden alert waits at most until it is looked at again.
RECHECK: Final = dt.timedelta(minutes=15)


class Reason(StrEnum):
    """Why an alert is part of a notification."""

    NEW = "new"
    RAISED = "raised"
    REOPENED = "reopened"
    RESOLVED = "resolved"
    REPEAT = "repeat"


class Group(Struct, frozen=True, kw_only=True):
    """The times of a group. ``pending_since``: the first change that is not notified yet."""

    pending_since: dt.datetime | None = None
    last_notified_at: dt.datetime | None = None


class Member(Struct, frozen=True, kw_only=True):
    """An alert in a group: its present state, and the last state that was notified."""

    alert_id: UUID
    status: Status
    rank: int
    notified_status: Status | None = None
    notified_rank: int = -1
    notified_at: dt.datetime | None = None
    #: Steps of the escalation that were sent.
    escalated: int = 0
    acknowledged_at: dt.datetime | None = None
    reminded_at: dt.datetime | None = None


class Examined(Struct, frozen=True, kw_only=True):
    """The action of a flush on one alert."""

    #: The alert after the flush; None: it leaves the group.
    after: Member | None
    #: Why it is part of the group's notification, if it is.
    reason: Reason | None = None
    #: Steps of the escalation that are due, as indices.
    escalations: tuple[int, ...] = ()
    reminder: bool = False
    #: A change has to wait for the interval.
    waits: bool = False
    #: A change has to wait, because the alert is hidden.
    held: bool = False


def ready_at(group: Group, route: Route) -> dt.datetime | None:
    """When the changes of a group may be notified; None without a change."""
    if group.pending_since is None:
        return None
    ready = group.pending_since + route.group_wait
    if group.last_notified_at is not None:
        ready = max(ready, group.last_notified_at + route.group_interval)
    return ready


class Flush:
    """One flush of one group."""

    def __init__(
        self, group: Group, route: Route, *, send_resolved: bool, now: dt.datetime
    ) -> None:
        self._group = group
        self._route = route
        self._send_resolved = send_resolved
        self._now = now
        last = group.last_notified_at
        ready = ready_at(group, route)
        self._changes_are_ready = ready is not None and now >= ready
        #: Whether alerts that did not change are notified again. A repeat waits for changes that
        #: are about to be notified.
        self.repeats: Final = (
            last is not None
            and now >= last + route.repeat_interval
            and (ready is None or self._changes_are_ready)
        )
        self._notified = False
        self._waits = False
        self._held = False
        self._any_open = False
        self._next_due: dt.datetime | None = None

    def examine(self, member: Member, *, hidden: bool) -> Examined:
        """Decide about one alert of the group. ``hidden``: by a silence or an inhibition."""
        match member.status:
            case Status.OPEN:
                examined = self._open(member, hidden)
            case Status.ACKNOWLEDGED:
                examined = self._acknowledged(member, hidden)
            case _:
                examined = self._resolved(member, hidden)
        self._notified = self._notified or examined.reason is not None
        self._waits = self._waits or examined.waits
        self._held = self._held or examined.held
        after = examined.after
        if after is not None and not hidden:
            self.take_rest(any_open=is_notified_open(after), next_due=due_at(after, self._route))
        return examined

    def take_rest(self, *, any_open: bool, next_due: dt.datetime | None) -> None:
        """Take note of visible alerts that stay in the group: whether one is open and notified,
        and when the next of their escalations and reminders is due."""
        self._any_open = self._any_open or any_open
        self._next_due = _earliest(self._next_due, next_due)

    def conclude(self, *, hidden_until: dt.datetime | None) -> tuple[Group, dt.datetime | None]:
        """The group after the flush, and when to flush it again; None: when something changes.

        ``hidden_until``: when a hidden alert may become visible, if there is one.
        """
        last = self._now if self._notified else self._group.last_notified_at
        pending = (self._group.pending_since or self._now) if self._waits or self._held else None
        group = Group(
            pending_since=pending,
            last_notified_at=last,
        )
        repeat = last + self._route.repeat_interval if last and self._any_open else None
        ready = ready_at(group, self._route) if self._waits else None
        if repeat is not None and ready is not None:
            repeat = max(repeat, ready)
        again = _earliest(self._next_due, repeat, ready, hidden_until)
        return group, again

    def _open(self, member: Member, hidden: bool) -> Examined:
        notified = member.notified_status is Status.OPEN
        changed = not notified or member.rank > member.notified_rank
        if hidden:
            return Examined(after=member, held=changed)
        if changed and not self._changes_are_ready:
            return self._further(member, waits=True)
        if changed:
            reason = _reason(member)
            after = replace(
                member,
                notified_status=Status.OPEN,
                notified_rank=member.rank,
                notified_at=member.notified_at if notified else self._now,
                escalated=member.escalated if notified else 0,
                acknowledged_at=None,
                reminded_at=None,
            )
            return self._further(after, reason=reason)
        return self._further(member, reason=Reason.REPEAT if self.repeats else None)

    def _further(
        self, member: Member, *, reason: Reason | None = None, waits: bool = False
    ) -> Examined:
        """Add the escalations that are due."""
        due = tuple(
            number
            for number, step in enumerate(self._route.escalate)
            if number >= member.escalated
            and member.notified_status is Status.OPEN
            and member.notified_at is not None
            and self._now >= member.notified_at + step.after
        )
        after = replace(member, escalated=due[-1] + 1) if due else member
        return Examined(after=after, reason=reason, escalations=due, waits=waits)

    def _acknowledged(self, member: Member, hidden: bool) -> Examined:
        # Somebody has seen it: no repeats and no escalation. A rise in severity is news.
        known = member.notified_rank >= 0
        raised = known and member.rank > member.notified_rank
        waits = raised and not hidden and not self._changes_are_ready
        notify = raised and not hidden and self._changes_are_ready
        began = member.acknowledged_at or self._now
        reminder = (
            not hidden
            and self._route.remind_after is not None
            and self._now >= (member.reminded_at or began) + self._route.remind_after
        )
        after = replace(
            member,
            notified_status=Status.ACKNOWLEDGED,
            notified_rank=member.rank
            if notify or member.notified_rank < 0
            else member.notified_rank,
            acknowledged_at=began,
            reminded_at=self._now if reminder else member.reminded_at,
        )
        reason = Reason.RAISED if notify else None
        return Examined(
            after=after, reason=reason, reminder=reminder, waits=waits, held=raised and hidden
        )

    def _resolved(self, member: Member, hidden: bool) -> Examined:
        if not self._send_resolved or hidden or member.notified_at is None:
            return Examined(after=None)
        if not self._changes_are_ready:
            return Examined(after=member, waits=True)
        return Examined(after=None, reason=Reason.RESOLVED)


def is_notified_open(member: Member) -> bool:
    """Whether an alert is open, and a notification reported it as open."""
    return member.status is Status.OPEN and member.notified_status is Status.OPEN


def due_at(member: Member, route: Route) -> dt.datetime | None:
    """When an escalation or a reminder of an alert is due next."""
    if member.status is Status.OPEN and member.notified_status is Status.OPEN:
        if member.notified_at is not None and member.escalated < len(route.escalate):
            return member.notified_at + route.escalate[member.escalated].after
    elif member.status is Status.ACKNOWLEDGED and route.remind_after is not None:
        began = member.reminded_at or member.acknowledged_at
        return began + route.remind_after if began else None
    return None


def _reason(member: Member) -> Reason:
    match member.notified_status:
        case None:
            return Reason.NEW
        case Status.OPEN:
            return Reason.RAISED
        case _:
            return Reason.NEW if member.notified_at is None else Reason.REOPENED


def _earliest(*times: dt.datetime | None) -> dt.datetime | None:
    return min((time for time in times if time is not None), default=None)
