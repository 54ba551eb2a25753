"""Hosts that are silent for longer than usual are reported once, as events."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import psycopg2
import pytest
from src.tests.archived_events import archived

from audit_analysis.archive.decoding import refused_row
from audit_analysis.archive.manifest import Manifest
from audit_analysis.ledger import sender_store, silence
from audit_analysis.ledger.sender_store import SenderStore
from audit_analysis.ledger.senders import (
    EVENT_TYPE,
    LEARNING_MS,
    Activity,
    Sender,
    SenderKey,
    activity_of,
)
from audit_analysis.ledger.silence import SilenceReporter
from audit_analysis.ledger.store import Entries
from auditflow.amqp import Message, topology
from auditflow.contract import event
from auditflow.errors import PublishError
from auditflow_local.servers.postgres_roles import ARCHIVE

MINUTE = 60_000
MINIMUM = 30 * MINUTE
DB = SenderKey("linux", "db-02")
WEB = SenderKey("linux", "web-01")
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def after(times: Sequence[int]) -> Sender:
    """A host that sent an event at each of these times."""
    sender = Sender(times[0], times[0])
    for time in times[1:]:
        sender = sender.seen(Activity(time, time), minimum_ms=MINIMUM)
    return sender


def test_a_host_is_silent_after_twice_its_usual_time_without_events() -> None:
    sender = after(range(0, 2 * LEARNING_MS + 1, 60 * MINUTE))
    assert sender.usual_ms == 60 * MINUTE
    assert not sender.is_silent(sender.last_ms + 120 * MINUTE, minimum_ms=MINIMUM)
    assert sender.is_silent(sender.last_ms + 120 * MINUTE + 1, minimum_ms=MINIMUM)


def test_a_busy_host_is_silent_after_the_minimum() -> None:
    sender = after(range(0, 2 * LEARNING_MS + 1, MINUTE))
    assert not sender.is_silent(sender.last_ms + MINIMUM, minimum_ms=MINIMUM)
    assert sender.is_silent(sender.last_ms + MINIMUM + 1, minimum_ms=MINIMUM)


def test_a_new_host_is_not_silent() -> None:
    sender = after(range(0, LEARNING_MS, MINUTE))
    assert not sender.is_silent(sender.last_ms + 100 * LEARNING_MS, minimum_ms=MINIMUM)


def test_a_weekend_is_learned_and_a_long_outage_is_not() -> None:
    # Given a host that sends on working days only
    day, hour = LEARNING_MS, 60 * MINUTE
    workweek = [d * day + h * hour for d in (0, 1, 2, 3, 4, 7, 8, 9) for h in range(8, 18)]
    sender = after(workweek)
    weekend_ms = 2 * day + 15 * hour
    assert not sender.is_silent(sender.last_ms + weekend_ms, minimum_ms=MINIMUM)
    # when it is established, and silent for 40 days
    end_ms = sender.last_ms + 40 * day
    assert sender.is_silent(end_ms, minimum_ms=MINIMUM)
    back = sender.seen(Activity(end_ms, end_ms), minimum_ms=MINIMUM)
    # then this time is not usual
    assert back.usual_ms <= 2 * weekend_ms


def test_repeated_and_old_events_change_nothing() -> None:
    sender = after([0, MINUTE, 5 * MINUTE])
    assert sender.seen(Activity(0, 5 * MINUTE), minimum_ms=MINIMUM) == sender
    assert sender.seen(Activity(MINUTE, MINUTE), minimum_ms=MINIMUM) == sender


def test_only_hosts_of_events_are_seen() -> None:
    rows = [
        archived(3, host="web-01"),
        archived(1, host="web-01"),
        archived(2, host=None),
        archived(4, host="x" * 256),
        archived(5, host="db-02", event_type=EVENT_TYPE),
        refused_row(b"x", "not JSON", 7, None),
    ]
    times = [rows[1].received_ms, rows[0].received_ms]
    assert activity_of(rows) == {SenderKey(rows[0].source, "web-01"): Activity(*times)}


class Publishes:
    """Publishes to a list. ``fails``: the broker does not confirm."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.fails = False

    def __call__(self, messages: Sequence[Message], seconds: float) -> None:
        self.messages += messages
        if self.fails:
            raise PublishError("no confirm")


@pytest.fixture
def manifest(postgres: Any) -> Any:
    database = postgres.fresh_database()
    manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
    manifest.migrate()
    manifest.dsn = database.dsn(ARCHIVE)  # type: ignore[attr-defined]
    yield manifest
    manifest.close()


def see(manifest: Any, **times: Sequence[int]) -> None:
    for key in (DB, WEB):
        for time in times.get(key.host.partition("-")[0], ()):
            activity = {key: Activity(time, time)}
            manifest.commit([], [], Entries(activity=activity, silence_ms=MINIMUM))


def test_a_silent_host_is_reported_once(manifest: Any) -> None:
    # Given two hosts of which one has been silent for 41 minutes
    end = LEARNING_MS + 41 * MINUTE
    steps = list(range(0, LEARNING_MS + 1, 20 * MINUTE))
    see(manifest, db=steps, web=[*steps, end - 20 * MINUTE, end])
    store = SenderStore(lambda: psycopg2.connect(manifest.dsn))
    publishes = Publishes()
    reporter = SilenceReporter(store, publishes, minimum_ms=MINIMUM)
    # when the report fails, and is repeated
    publishes.fails = True
    reporter.run(NOW)
    publishes.fails = False
    reporter.run(NOW)
    reporter.run(NOW)
    # then it is the same event, and it is not sent a third time
    first, second = publishes.messages
    assert first.message_id == second.message_id
    assert second.routing_key == topology.LEDGER_KEY
    sent = event.decode(second.body)
    assert (sent.event_type, sent.server_hostname, sent.resource) == (EVENT_TYPE, "db-02", "linux")
    assert sent.details is not None
    assert sent.details["silent_minutes"] == 41
    assert sent.details["usual_minutes"] == 20


def test_the_api_lists_silent_hosts_first(manifest: Any) -> None:
    steps = list(range(0, LEARNING_MS + 1, 10 * MINUTE))
    see(manifest, db=steps, web=[*steps, LEARNING_MS + 40 * MINUTE])
    store = SenderStore(lambda: psycopg2.connect(manifest.dsn))
    first, second = silence.report(store, minimum_ms=MINIMUM).senders
    assert (first.host, first.silent, first.silent_seconds) == ("db-02", True, 2400)
    assert first.usual_seconds == 600
    assert (second.host, second.silent, second.silent_seconds) == ("web-01", False, 0)


def test_the_number_of_hosts_is_limited(manifest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_store, "MAX_SENDERS", 1)
    see(manifest, db=[0], web=[0])
    see(manifest, db=[5])
    store = SenderStore(lambda: psycopg2.connect(manifest.dsn))
    (known,) = store.read().known
    assert (known.key, known.sender.last_ms) == (DB, 5)


def test_hosts_are_forgotten(manifest: Any) -> None:
    see(manifest, db=[0], web=[0, LEARNING_MS])
    store = SenderStore(lambda: psycopg2.connect(manifest.dsn))
    store.forget(now_ms=8 * LEARNING_MS)
    assert [item.key for item in store.read().known] == [WEB]
    store.forget(now_ms=92 * LEARNING_MS)
    assert store.read().known == []
