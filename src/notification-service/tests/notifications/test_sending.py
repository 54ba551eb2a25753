"""The worker that sends, with receivers that fail in ways of their own, on a real database."""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from auditflow.errors import Unavailable
from notification_service.outbox import clock, worker
from notification_service.outbox.clock import SYNC_SECONDS, DatabaseClock
from notification_service.outbox.metrics import Metrics
from notification_service.outbox.worker import MAX_ABANDONED, PATIENCE, SendingWorker
from notification_service.receivers.delivery import DeliveryError, Message

EACH = """
route: {receiver: team, group_by: ['...'], group_wait: 0s, group_interval: 1s}
receivers:
- {name: team, rate_per_minute: 6000, burst: 1000, webhook: {url: "http://127.0.0.1:9", key_secret: KEY}}
"""


# The worker estimates the clock of the database, some milliseconds late.
_DUE = """
    UPDATE notifications SET next_attempt_at = now() - interval '1 minute' WHERE status = 'pending'
"""


class Recorder:
    """A sender that records messages. Each call does the next of its ``steps``, then it accepts."""

    def __init__(self, *steps: Callable[[], Any]) -> None:
        self.steps = list(steps)
        self.messages: list[Message] = []

    def send(self, message: Message) -> str:
        self.messages.append(message)
        if self.steps:
            self.steps.pop(0)()
        return "recorder"


def fails(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


@pytest.fixture
def waiting(machine: Any, store: Any, make_finding: Any) -> Callable[[int], None]:
    """Makes notifications of one alert each, which wait for the receiver."""

    def make(number: int) -> None:
        store.store([make_finding(user=f"user-{n}") for n in range(number)])
        machine.write(EACH)
        machine.run()

    return make


@pytest.fixture
def sending(machine: Any) -> Callable[[Recorder], SendingWorker]:
    def make(sender: Recorder) -> SendingWorker:
        return SendingWorker(
            file=machine.parts.file,
            queue=machine.queue,
            make_sender=lambda tree, receiver: sender,
            metrics=Metrics(CollectorRegistry()),
            clock=machine.parts.clock,
        )

    return make


def run(sending: SendingWorker) -> None:
    """Send until nothing is due."""
    while sending._step():
        for thread in tuple(sending._sending):
            thread.join(60)


def test_a_receiver_that_asks_to_wait_gets_nothing_meanwhile(
    waiting: Any, sending: Any, query: Any
) -> None:
    waiting(3)
    day = DeliveryError("the webhook answered 429", retry_after=dt.timedelta(hours=1))
    sender = Recorder(fails(day))

    run(sending(sender))

    assert len(sender.messages) == 1
    assert query(
        "SELECT status, attempts, next_attempt_at > now() + interval '59 minutes'"
        " FROM notifications ORDER BY attempts DESC"
    ) == [("pending", 1, True), ("pending", 0, False), ("pending", 0, False)]


def test_asking_to_wait_makes_no_notification_dead_on_the_first_day(
    waiting: Any, sending: Any, query: Any
) -> None:
    waiting(1)
    asks = DeliveryError("the webhook answered 429", retry_after=dt.timedelta(0))

    def attempt() -> Any:
        query(_DUE)
        run(sending(Recorder(fails(asks))))
        return query("SELECT status FROM notifications")

    query("UPDATE notifications SET attempts = 40")
    assert attempt() == [("pending",)]
    query("UPDATE notifications SET created_at = now() - %s", PATIENCE * 1.1)
    assert attempt() == [("dead",)]


def test_an_unexpected_error_is_an_attempt(waiting: Any, sending: Any, query: Any) -> None:
    waiting(2)
    sender = Recorder(fails(ValueError("a secret of the receiver")))

    run(sending(sender))

    assert query("SELECT status, last_error FROM notifications ORDER BY status") == [
        ("pending", "an unexpected error: ValueError"),
        ("sent", None),
    ]


def test_a_content_of_a_newer_version_waits_and_stops_no_other(
    waiting: Any, sending: Any, query: Any
) -> None:
    waiting(2)
    query(
        "UPDATE notifications SET content = '{\"kind\": {}}', next_attempt_at = '2026-01-01'"
        " WHERE notification_id = (SELECT min(notification_id::text)::uuid FROM notifications)"
    )

    run(sending(Recorder()))

    assert query("SELECT status, last_error FROM notifications ORDER BY status") == [
        ("pending", "this version of the service cannot read its content"),
        ("sent", None),
    ]


def test_targets_that_were_reached_are_given_to_the_next_attempt(
    waiting: Any, sending: Any, query: Any
) -> None:
    waiting(1)
    first = DeliveryError("one of two", delivered=frozenset({"a"}))
    second = DeliveryError("the other", delivered=frozenset({"a", "b"}))
    sender = Recorder(fails(first), fails(second))

    for _ in range(3):
        query(_DUE)
        run(sending(sender))

    assert [sorted(message.delivered) for message in sender.messages] == [[], ["a"], ["a", "b"]]


def test_a_success_after_the_end_of_the_lease_prevents_a_repeat(
    waiting: Any, machine: Any, query: Any
) -> None:
    waiting(1)
    (claim,) = machine.queue.claim("team", now=machine.now, limit=1)
    later = machine.now + dt.timedelta(minutes=2)
    assert machine.queue.release(now=later) == 1

    assert machine.queue.sent(claim, to="late", now=later)

    assert machine.queue.claim("team", now=later, limit=1) == []
    assert query("SELECT status, delivered_to FROM notifications") == [("sent", "late")]


def test_a_success_does_not_count_for_a_later_attempt(waiting: Any, machine: Any) -> None:
    waiting(1)
    (first,) = machine.queue.claim("team", now=machine.now, limit=1)
    later = machine.now + dt.timedelta(minutes=2)
    machine.queue.release(now=later)
    (second,) = machine.queue.claim("team", now=later, limit=1)

    assert not machine.queue.sent(first, to="late", now=later)
    assert machine.queue.sent(second, to="second", now=later)


def test_a_receiver_that_never_answers_keeps_back_no_other_notification(
    waiting: Any, sending: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a receiver that neither answers nor fails
    waiting(2)
    end, started = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        end.wait(60)

    sender = Recorder(hang)
    sends = sending(sender)
    assert sends._step()
    assert started.wait(60)
    (hanging,) = sends._sending
    assert not sends._step()

    # When the lease has ended
    monkeypatch.setattr(worker, "LEASE", dt.timedelta(0))
    sends._abandon()

    # Then the other one is sent after a pause, and the end of the thread changes nothing
    assert not sends._step()
    sends._guards["team"]._held_until = 0.0
    run(sends)
    assert len(sender.messages) == 2
    end.set()
    hanging.join(60)
    assert sends.alive() is None
    sends._abandoned = MAX_ABANDONED
    assert "neither answer nor fail" in sends.alive()


def test_leases_have_times_of_the_database(
    waiting: Any, sending: Any, machine: Any, query: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a replica whose own clock is five minutes ahead of the database
    waiting(1)
    monkeypatch.setattr(clock, "_READ", "SELECT clock_timestamp() - interval '5 minutes'")
    query("UPDATE notifications SET next_attempt_at = now() - interval '6 minutes'")
    seen: list[Any] = []
    claimed = "SELECT claimed_until < now() - interval '3 minutes' FROM notifications"

    run(sending(Recorder(lambda: seen.extend(query(claimed)))))

    assert seen == [(True,)]


def test_the_clock_does_not_follow_the_clock_of_the_machine(
    database: Any, open_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monotonic = [100.0]
    pool = open_pool(database)
    now = DatabaseClock(pool, monotonic=lambda: monotonic[0])
    first = now()

    monotonic[0] += 10
    assert now() == first + dt.timedelta(seconds=10)
    # it is read again after a time, and goes on while the database is away
    monotonic[0] += SYNC_SECONDS
    assert now() < first + dt.timedelta(seconds=10)
    pool.close()
    monkeypatch.setattr(pool, "connection", fails(Unavailable("postgresql", "it is away")))
    last = now()
    monotonic[0] += 2 * SYNC_SECONDS
    assert now() == last + dt.timedelta(seconds=2 * SYNC_SECONDS)
    with pytest.raises(Unavailable):
        DatabaseClock(pool)()
