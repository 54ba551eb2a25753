"""On-call schedules, escalation, acknowledgement and reminders, on the real database."""

import datetime as dt
from typing import Any

import pytest

from notification_service.oncall.schedule import Calendar, CalendarError, on_call
from notification_service.outbox.backoff import LONGEST_SECONDS, wait_after
from notification_service.receivers.delivery import DeliveryError
from notification_service.receivers.guard import FAILURES, OPEN_SECONDS, Guard
from notification_service.routing.tree import Apprise, Receiver

ROTATION = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//
BEGIN:VEVENT
UID:alice
DTSTAMP:20260105T080000Z
DTSTART;TZID=Europe/Berlin:20260105T090000
DTEND;TZID=Europe/Berlin:20260112T090000
RRULE:FREQ=WEEKLY;INTERVAL=2
SUMMARY:Alice
END:VEVENT
BEGIN:VEVENT
UID:bob
DTSTAMP:20260105T080000Z
DTSTART;TZID=Europe/Berlin:20260112T090000
DTEND;TZID=Europe/Berlin:20260119T090000
RRULE:FREQ=WEEKLY;INTERVAL=2
SUMMARY:second shift
ATTENDEE:mailto:Bob@example.org
END:VEVENT
BEGIN:VEVENT
UID:holiday
DTSTAMP:20260105T080000Z
DTSTART:20260107T000000Z
DTEND:20260108T000000Z
SUMMARY:Carol
END:VEVENT
END:VCALENDAR
"""
PEOPLE = {"alice": "alice-phone", "bob@example.org": "bob-phone"}


@pytest.mark.parametrize(
    ("at", "person", "receiver"),
    [
        ("2026-01-05T07:59:59+00:00", None, None),
        ("2026-01-05T08:00:00+00:00", "Alice", "alice-phone"),
        ("2026-01-07T12:00:00+00:00", "Carol", None),  # an exception replaces the rotation
        ("2026-01-08T00:00:00+00:00", "Alice", "alice-phone"),
        ("2026-01-12T08:00:00+00:00", "second shift", "bob-phone"),
        ("2026-01-19T08:00:00+00:00", "Alice", "alice-phone"),
        # 09:00 in Berlin is 07:00 UTC in summer
        ("2026-07-06T06:59:59+00:00", "second shift", "bob-phone"),
        ("2026-07-06T07:00:00+00:00", "Alice", "alice-phone"),
    ],
)
def test_who_is_on_call(at: str, person: str | None, receiver: str | None) -> None:
    shift = on_call(Calendar(ROTATION.encode()), PEOPLE, dt.datetime.fromisoformat(at))
    assert (shift.person, shift.receiver) == (person, receiver) if shift else person is None


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "BEGIN:VCALENDAR\n", "x" * (1024 * 1024 + 1),
        ROTATION.replace("FREQ=WEEKLY", "FREQ=SECONDLY"),
        ROTATION.replace("INTERVAL=2", "BYSECOND=1"),
    ],
)  # fmt: skip
def test_a_calendar_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(CalendarError):
        Calendar(text.encode())


ROUTES = """
route:
  receiver: team
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
  remind_after: 1d
  escalate: [{after: 15m, receiver: manager}, {after: 30m, receiver: boss}]
receivers:
- {name: team, webhook: {url: "http://127.0.0.1:9", key_secret: KEY}}
- {name: manager, webhook: {url: "http://127.0.0.1:9", key_secret: KEY}}
- {name: boss, webhook: {url: "http://127.0.0.1:9", key_secret: KEY}}
"""


@pytest.fixture
def alert(machine: Any, store: Any, make_finding: Any) -> Any:
    """An alert that its receiver was notified of."""
    machine.write(ROUTES)
    store.store([make_finding(user="mallory")])
    machine.run()
    ((found,),) = [content.alerts for content in machine.take()]
    return found


def test_an_unacknowledged_alert_is_escalated(machine: Any, alert: Any) -> None:
    machine.run(14 * 60)
    assert machine.take("manager") == []
    machine.run(61)
    ((escalated,),) = [content.alerts for content in machine.take("manager")]
    assert (escalated.alert_id, escalated.reason) == (alert.alert_id, "escalation")
    assert machine.take("boss") == []
    machine.run(16 * 60)
    assert [content.step for content in machine.take("boss")] == [2]
    machine.run(3600)
    assert machine.take("manager") == machine.take("boss") == []
    assert [content.by_reason for content in machine.take()] == [{"repeat": 1}]


def test_an_acknowledgement_stops_repeats_and_escalation_and_begins_reminders(
    machine: Any, alert: Any, query: Any
) -> None:
    query("UPDATE alerts SET status = 'acknowledged'")
    machine.run(1)

    machine.run(12 * 3600)
    assert machine.take() == machine.take("manager") == machine.take("boss") == []

    machine.run(12 * 3600 + 5)
    assert [(it.kind, it.alerts[0].alert_id) for it in machine.take()] == [
        ("reminder", alert.alert_id)
    ]
    query("UPDATE alerts SET status = 'resolved', verdict = 'benign'")
    machine.run(3 * 24 * 3600)
    assert machine.take() == []
    assert query("SELECT count(*) FROM notification_groups") == [(0,)]


def test_a_changed_routing_file_does_not_notify_again(
    machine: Any, alert: Any, store: Any, make_finding: Any, query: Any
) -> None:
    machine.write(
        ROUTES.replace("route:", "route: ").replace("receiver: team", "receiver: boss", 1)
    )
    machine.router.adopt(machine.tree)
    machine.run(10)

    assert machine.take() == machine.take("boss") == []
    assert query("SELECT count(*) FROM notification_group_alerts") == [(1,)]
    # a rise of the level is news
    query("UPDATE alerts SET level = 'critical', level_rank = 4")
    machine.run(10)
    assert [content.by_reason for content in machine.take("boss")] == [{"raised": 1}]


def test_a_failing_receiver_is_left_alone_for_a_while() -> None:
    now = [100.0]
    receiver = Receiver(name="chat", target=Apprise("S"), burst=1000, rate_per_minute=6000)
    changes: list[bool] = []
    guard = Guard(
        receiver, on_change=lambda _, opened: changes.append(opened), clock=lambda: now[0]
    )

    def fail(*, permanent: bool) -> None:
        assert guard.enter()
        try:
            with pytest.raises(DeliveryError):
                guard.call(lambda: _raise(permanent))
        finally:
            guard.leave()

    for _ in range(FAILURES + 3):
        fail(permanent=True)  # a receiver that refuses one notification works
    assert not guard.open
    for _ in range(FAILURES):
        fail(permanent=False)
    assert guard.open
    assert not guard.enter()
    now[0] += OPEN_SECONDS
    assert guard.enter()
    assert not guard.enter()  # one at a time
    guard.leave()
    guard.close()
    assert changes == [False, True]


def _raise(permanent: bool) -> None:
    raise DeliveryError("no", permanent=permanent)


def test_a_burst_is_bounded_by_the_token_bucket() -> None:
    guard = Guard(Receiver(name="chat", target=Apprise("S"), burst=3, rate_per_minute=1))
    taken = 0
    for _ in range(10):
        if guard.enter():
            taken += 1
            guard.leave()
    guard.close()
    assert taken == 3


def test_waits_grow_up_to_a_limit() -> None:
    waits = [wait_after(attempt).total_seconds() for attempt in range(1, 40)]
    assert 5 <= waits[0] <= 10
    assert 40 <= waits[3] <= 45
    assert max(waits) <= LONGEST_SECONDS


def test_delivered_notifications_are_removed_after_90_days(
    machine: Any, alert: Any, query: Any
) -> None:
    machine.run(16 * 60)  # an escalation that waits
    query("UPDATE notifications SET created_at = created_at - interval '91 days'")

    assert machine.queue.remove_old(now=machine.now) == 1

    assert query("SELECT kind, status FROM notifications") == [("escalation", "pending")]
    assert query("SELECT count(*) FROM notification_alerts") == [(1,)]
