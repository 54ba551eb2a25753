"""Grouping against a simple model.

The model evaluates the group every second and remembers, in plain lists, what it has sent. The code
under test runs only at the times that it requested. Both must send the same, at the same times.
"""

import datetime as dt
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from auditflow.contract.alert import Status
from notification_service.routing.grouping import Flush, Group, Member, Reason, ready_at
from notification_service.routing.tree import Escalation, Route

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
END = 60
IDS = [uuid.UUID(int=number + 1) for number in range(3)]
#: What was sent: the second, the kind, the alert, the reason or the step.
Sent = set[tuple[int, str, int, str]]


def seconds(number: int) -> dt.timedelta:
    return dt.timedelta(seconds=number)


class Model:
    """One group, as a person would describe it."""

    def __init__(self, route: Route, send_resolved: bool) -> None:
        self.route = route
        self.send_resolved = send_resolved
        self.alerts: dict[int, dict[str, Any]] = {}
        self.pending_since: int | None = None
        self.last: int | None = None
        self.sent: Sent = set()

    def change(self, at: int, alert: int, status: Status, rank: int) -> None:
        if alert in self.alerts:
            self.alerts[alert] |= {"status": status, "rank": rank}
        elif status is not Status.RESOLVED:
            self.alerts[alert] = {
                "status": status, "rank": rank, "sent_status": None, "sent_rank": -1, "notified": None,
                "steps": set(), "acknowledged": None, "reminded": None,
            }  # fmt: skip
        else:
            return
        if self.pending_since is None:
            self.pending_since = at

    def evaluate(self, at: int, hidden: set[int]) -> None:
        route = self.route
        ready = False
        if self.pending_since is not None:
            waited = at >= self.pending_since + route.group_wait.seconds
            interval_over = self.last is None or at >= self.last + route.group_interval.seconds
            ready = waited and interval_over
        # a repeat waits for changes that are about to be sent
        repeats = self.last is not None and at >= self.last + route.repeat_interval.seconds
        repeats = repeats and (ready or self.pending_since is None)
        main: list[tuple[int, str]] = []
        waits = False
        for number, alert in list(self.alerts.items()):
            reason = self._reason(alert, repeats)
            if number in hidden:
                if alert["status"] is Status.RESOLVED:
                    del self.alerts[number]
                    continue
                waits = waits or reason not in (None, "repeat")
                reason = None
            elif reason is not None and (ready or reason == "repeat"):
                main.append((number, reason))
                self._record_sent(alert, at, reason)
            elif reason is not None:
                waits = True
            if alert["status"] is Status.ACKNOWLEDGED:
                self._acknowledged(at, number, alert, number in hidden)
            elif alert["status"] is Status.RESOLVED and (ready or reason is None):
                del self.alerts[number]
            if number not in hidden:
                self._escalate(at, number, alert)
        for number, reason in main:
            self.sent.add((at, "alerts", number, reason))
        if main:
            self.last = at
        if not waits:
            self.pending_since = None

    def _reason(self, alert: dict[str, Any], repeats: bool) -> str | None:
        raised = alert["rank"] > alert["sent_rank"]
        match alert["status"]:
            case Status.OPEN:
                if alert["sent_status"] is None:
                    return "new"
                if alert["sent_status"] is Status.ACKNOWLEDGED:
                    return "new" if alert["notified"] is None else "reopened"
                return "raised" if raised else "repeat" if repeats else None
            case Status.ACKNOWLEDGED:
                return "raised" if alert["sent_rank"] >= 0 and raised else None
            case _:
                notified = alert["notified"] is not None
                return "resolved" if self.send_resolved and notified else None

    def _record_sent(self, alert: dict[str, Any], at: int, reason: str) -> None:
        alert["sent_rank"] = alert["rank"]
        if alert["status"] is Status.OPEN:
            if reason in ("new", "reopened"):
                alert |= {"notified": at, "steps": set(), "acknowledged": None, "reminded": None}
            alert["sent_status"] = Status.OPEN

    def _acknowledged(self, at: int, number: int, alert: dict[str, Any], hidden: bool) -> None:
        alert["sent_status"] = Status.ACKNOWLEDGED
        if alert["sent_rank"] < 0:
            alert["sent_rank"] = alert["rank"]
        if alert["acknowledged"] is None:
            alert["acknowledged"] = at
        every = self.route.remind_after
        since = alert["reminded"] if alert["reminded"] is not None else alert["acknowledged"]
        if every is not None and not hidden and at >= since + every.seconds:
            alert["reminded"] = at
            self.sent.add((at, "reminder", number, ""))

    def _escalate(self, at: int, number: int, alert: dict[str, Any]) -> None:
        if alert["status"] is not Status.OPEN or alert["sent_status"] is not Status.OPEN:
            return
        for step, escalation in enumerate(self.route.escalate):
            if step not in alert["steps"] and at >= alert["notified"] + escalation.after.seconds:
                alert["steps"].add(step)
                self.sent.add((at, "escalation", number, str(step)))


class Scheduled:
    """The code under test. It runs only at the times that it requested."""

    def __init__(self, route: Route, send_resolved: bool) -> None:
        self.route = route
        self.send_resolved = send_resolved
        self.group = Group()
        self.members: dict[int, Member] = {}
        self.next: dt.datetime | None = None
        self.sent: Sent = set()
        self.flushes = 0
        self.again = 0

    def change(self, at: int, alert: int, status: Status, rank: int) -> None:
        known = alert in self.members
        if known:
            self.members[alert] = replace(self.members[alert], status=status, rank=rank)
        elif status is not Status.RESOLVED:
            self.members[alert] = Member(alert_id=IDS[alert], status=status, rank=rank)
        else:
            return
        if self.group.pending_since is None:
            self.group = replace(self.group, pending_since=BEGIN + seconds(at))
        ready = ready_at(self.group, self.route)
        if known or status is not Status.OPEN:
            ready = BEGIN + seconds(at)
        assert ready is not None
        self.next = ready if self.next is None else min(self.next, ready)

    def evaluate(self, at: int, hidden: set[int]) -> None:
        now = BEGIN + seconds(at)
        if self.next is None or now < self.next:
            return
        self.flushes += 1
        flush = Flush(self.group, self.route, send_resolved=self.send_resolved, now=now)
        for number, member in list(self.members.items()):
            examined = flush.examine(member, hidden=number in hidden)
            if examined.after is None:
                del self.members[number]
            else:
                self.members[number] = examined.after
            if examined.reason:
                self.sent.add((at, "alerts", number, examined.reason.value))
            if examined.reminder:
                self.sent.add((at, "reminder", number, ""))
            for step in examined.escalations:
                self.sent.add((at, "escalation", number, str(step)))
        until = now + SECOND if hidden & self.members.keys() else None
        self.group, self.next = flush.conclude(hidden_until=until)
        # Once more at the same time is allowed: a repeat that waited for nothing. Not for ever.
        self.again = self.again + 1 if self.next is not None and self.next <= now else 0
        assert self.again <= 13  # one for each change


def durations(low: int, high: int) -> st.SearchStrategy[dt.timedelta]:
    return st.integers(low, high).map(seconds)


routes = st.builds(
    Route,
    key=st.just("r"),
    receiver=st.just("team"),
    group_wait=durations(0, 4),
    group_interval=durations(1, 6),
    repeat_interval=durations(6, 20),
    remind_after=st.none() | durations(3, 12),
    escalate=st.lists(st.integers(1, 15), max_size=3, unique=True).map(
        lambda afters: tuple(Escalation(seconds(after), "boss") for after in sorted(afters))
    ),
)
changes = st.lists(
    st.tuples(
        st.integers(0, END),
        st.integers(0, len(IDS) - 1),
        st.sampled_from([Status.OPEN, Status.OPEN, Status.ACKNOWLEDGED, Status.RESOLVED]),
        st.integers(0, 2),
    ),
    max_size=12,
).map(sorted)


@given(route=routes, events=changes, send_resolved=st.booleans(),
       hides=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 20)), max_size=2))  # fmt: skip
def test_the_schedule_sends_what_the_model_sends(
    route: Route, events: list[Any], send_resolved: bool, hides: list[tuple[int, int, int]]
) -> None:
    model, scheduled = Model(route, send_resolved), Scheduled(route, send_resolved)
    ranks: dict[int, int] = {}
    waiting = list(events)
    for at in range(END + 30):
        while waiting and waiting[0][0] == at:
            _, alert, status, rank = waiting.pop(0)
            ranks[alert] = max(rank, ranks.get(alert, 0))  # a severity never falls
            for implementation in (model, scheduled):
                implementation.change(at, alert, status, ranks[alert])
        hidden = {alert for alert, begin, length in hides if begin <= at < begin + length}
        # the code under test learns of a silence with the next flush, as the service does
        model.evaluate(at, hidden)
        scheduled.evaluate(at, hidden)
        assert scheduled.sent == model.sent, at


@pytest.mark.parametrize("send_resolved", [False, True])
def test_a_quiet_group_is_not_flushed(send_resolved: bool) -> None:
    route = Route(key="r", receiver="team", repeat_interval=dt.timedelta(hours=4))
    scheduled = Scheduled(route, send_resolved)
    scheduled.change(0, 0, Status.OPEN, 1)

    for at in range(3600):
        scheduled.evaluate(at, set())

    assert scheduled.flushes == 1
    assert scheduled.sent == {(30, "alerts", 0, Reason.NEW.value)}


def test_a_reopened_alert_is_escalated_again() -> None:
    route = Route(
        key="r",
        receiver="team",
        group_wait=seconds(0),
        group_interval=seconds(1),
        escalate=(Escalation(seconds(5), "boss"),),
    )
    scheduled = Scheduled(route, send_resolved=False)
    changes = {0: Status.OPEN, 10: Status.ACKNOWLEDGED, 20: Status.OPEN}

    for at in range(40):
        if at in changes:
            scheduled.change(at, 0, changes[at], 1)
        scheduled.evaluate(at, set())

    assert {entry for entry in scheduled.sent if entry[1] == "escalation"} == {
        (5, "escalation", 0, "0"),
        (25, "escalation", 0, "0"),
    }
