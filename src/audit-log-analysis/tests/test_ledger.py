"""The ledger with a real broker and database: receipts, batches, redeliveries, and the API."""

import asyncio
import datetime as dt
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pika
import psycopg2
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from src.tests.archived_events import FolderArchive
from structlog.testing import capture_logs

from audit_analysis.archive.manifest import Manifest
from audit_analysis.cli import archive_api
from audit_analysis.cli import ledger as ledger_cli
from audit_analysis.events_api import app as events_app
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.ledger import store
from audit_analysis.ledger.monitor import LedgerMetrics, LedgerMonitor
from audit_analysis.ledger.outcomes import EventCounts, MessageOutcome
from audit_analysis.ledger.reading import GRACE, LedgerReader
from audit_analysis.ledger.store import Entries
from auditflow.amqp import topology
from auditflow.amqp.delivery import encode_properties
from auditflow.contract import acceptance, archive, ledger
from auditflow.contract.archive import ArchivedMessage, Note
from auditflow.contract.ledger import Entry, Label, Receipt, runs_of
from auditflow.contract.ledger_report import LedgerReport, LedgerState
from auditflow.errors import Unavailable
from auditflow.http.health import Health
from auditflow_local.servers.postgres_roles import ARCHIVE

from .test_archive_writer import ACCEPTED_MS, Archive, event
from .test_events_api import VIEWER, KnownCallers

PRODUCER = "0123456789abcdef"
HOUR = ACCEPTED_MS // 3_600_000
SINCE = store.hour_time(HOUR)
UNTIL = SINCE + dt.timedelta(hours=1)
MINUTE_MS = 60_000


def labelled(
    number: int, *events: Any, accepted_ms: int = ACCEPTED_MS, body: bytes | None = None
) -> ArchivedMessage:
    label = Label(PRODUCER, "okta", HOUR, number, len(events))
    headers = {acceptance.HEADER: accepted_ms, ledger.HEADER: label.header()}
    return ArchivedMessage(
        encode_properties(headers=headers), body or msgspec.json.encode(list(events))
    )


def batch(*messages: ArchivedMessage, events: int | None = None, notes: Any = ()) -> bytes:
    return archive.compress(messages).with_notes(notes, processed_ms=ACCEPTED_MS, events=events)


def receipt(messages: dict[int, int], *, confirmed_ms: int = ACCEPTED_MS) -> bytes:
    entry = Entry("okta", HOUR, runs_of(messages.items()))
    return ledger.encode_receipt(Receipt(PRODUCER, confirmed_ms, (entry,)))


class LedgerArchive(Archive):
    """An archive whose ledger is read."""

    def publish_receipt(self, *bodies: bytes) -> None:
        with pika.BlockingConnection(self.rabbitmq.parameters("auditflow-admin")) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish(
                    topology.EXCHANGE,
                    topology.RECEIPT_KEY,
                    body,
                    pika.BasicProperties(content_type=ledger.CONTENT_TYPE),
                    mandatory=True,
                )

    def reader(self) -> LedgerReader:
        return LedgerReader(lambda: psycopg2.connect(self.database.dsn(ARCHIVE)))

    def report(self, **query: Any) -> LedgerReport:
        return self.reader().report(since=SINCE, until=UNTIL, **query)


@pytest.fixture
def stored(rabbitmq: Any, postgres: Any, tmp_path: Path) -> Iterator[LedgerArchive]:
    rabbitmq.empty(topology.ARCHIVE, f"{topology.ARCHIVE}.dlq")
    item = LedgerArchive(rabbitmq, postgres.fresh_database(), tmp_path / "archive")
    yield item
    item.stop()
    item.manifest.close()


def test_an_hour_is_balanced(stored: LedgerArchive, eventually: Any) -> None:
    # Given messages with analysed, late, staged, refused and failed events
    messages = [
        labelled(0, event("a"), event("b"), event("c")),
        labelled(1, event("d"), body=b"\xff"),
        labelled(2, event("e"), event("f")),
    ]
    notes = (
        Note(message=0, event=0, late=True),
        Note(message=0, event=1, staged=True),
        Note(message=2, event=archive.ALL_EVENTS, refused="ValueError: poison"),
    )
    stored.publish(batch(*messages, notes=notes, events=6))
    stored.publish_receipt(receipt({0: 3, 1: 1, 2: 2}))
    stored.start()
    eventually(lambda: stored.acknowledged() == 2, what="acknowledged")
    # then the numbers are those of the events
    report = stored.report()
    (hour,) = report.hours
    assert (hour.source, hour.hour, hour.state) == ("okta", SINCE, LedgerState.BALANCED)
    counted = {name: value for name, value in msgspec.structs.asdict(report.total).items() if value}
    assert counted == {
        "accepted": 6, "archived": 6, "analysed": 3, "late": 1, "staged": 1, "refused": 1,
        "dead_lettered": 2,
    }  # fmt: skip
    assert report.state is LedgerState.BALANCED
    assert report.differences == ()
    assert stored.report(source="github").hours == ()


def test_redelivered_messages_are_counted_once(stored: LedgerArchive, eventually: Any) -> None:
    # Given a message that is delivered again in a batch with other messages
    first, second, third = (labelled(number, event(f"e{number}")) for number in range(3))
    stored.publish(batch(first, second))
    stored.start()
    eventually(lambda: stored.acknowledged() == 1, what="acknowledged")
    stored.stop()
    # when another writer receives the batches and the receipts twice
    stored.start()
    stored.publish(batch(first, second), batch(second, third))
    stored.publish_receipt(*[receipt({0: 1, 1: 1, 2: 1})] * 2)
    eventually(lambda: stored.acknowledged() == 4, what="acknowledged")
    # then each message is counted once
    total = stored.report().total
    assert (total.accepted, total.archived, total.repeated) == (3, 3, 1)
    assert (total.missing, total.waiting, total.unconfirmed) == (0, 0, 0)


def test_a_lost_message_waits_and_is_then_missing(stored: LedgerArchive, eventually: Any) -> None:
    # Given a message that was accepted and is not archived
    stored.publish_receipt(receipt({0: 1, 1: 4}))
    stored.publish(batch(labelled(0, event("a"))))
    stored.start()
    eventually(lambda: stored.acknowledged() == 2, what="acknowledged")
    report = stored.report()
    assert (report.total.waiting, report.total.missing) == (4, 0)
    assert report.state is LedgerState.WAITING
    # when a much later message is archived
    later_ms = ACCEPTED_MS + GRACE // dt.timedelta(milliseconds=1) + 1
    stored.publish(batch(labelled(2, event("b"), accepted_ms=later_ms)))
    eventually(lambda: stored.acknowledged() == 3, what="acknowledged")
    # then the message is missing, and the report has its number
    report = stored.report()
    assert (report.total.waiting, report.total.missing) == (0, 4)
    assert report.state is report.hours[0].state is LedgerState.DIFFERENT
    (difference,) = report.differences
    assert (difference.kind, difference.events, difference.source) == ("missing", 4, "okta")
    assert difference.batch == f"{PRODUCER}:0"
    assert difference.detail == "messages 1 are not archived"
    # and when it arrives, the hour is balanced again
    stored.publish(batch(labelled(1, *map(event, "wxyz"))))
    eventually(lambda: stored.acknowledged() == 4, what="acknowledged")
    assert stored.report().state is LedgerState.BALANCED


def test_a_batch_with_other_events_than_analysed_is_reported(
    stored: LedgerArchive, eventually: Any
) -> None:
    body = batch(labelled(0, event("a")), events=3)
    stored.publish(body)
    stored.publish(batch(labelled(1, event("b")), events=1))
    stored.start()
    eventually(lambda: stored.acknowledged() == 2, what="acknowledged")
    (difference,) = stored.report().differences
    assert (difference.kind, difference.events) == ("batch", 2)
    assert difference.batch == archive.decode(body).batch_id.hex()
    assert stored.report().state is LedgerState.DIFFERENT


def test_messages_without_a_label_are_direct(stored: LedgerArchive, eventually: Any) -> None:
    properties = encode_properties(headers={acceptance.HEADER: ACCEPTED_MS})
    for name in ("a", "b"):
        stored.publish(batch(ArchivedMessage(properties, msgspec.json.encode(event(name)))))
    stored.start()
    eventually(lambda: stored.acknowledged() == 2, what="acknowledged")
    (hour,) = stored.report().hours
    assert (hour.source, hour.accepted, hour.archived, hour.state) == (
        "direct", 2, 2, LedgerState.BALANCED,
    )  # fmt: skip


def test_a_batch_that_another_process_committed_is_not_committed_twice(postgres: Any) -> None:
    database = postgres.fresh_database()
    manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
    manifest.migrate()
    label = Label(PRODUCER, "okta", HOUR, 0, 1)
    message = MessageOutcome(label, ACCEPTED_MS, EventCounts(analysed=1))
    manifest.commit([], [b"a" * 16], Entries(messages=[message]))
    with pytest.raises(Unavailable, match="another process committed the batches 6161"):
        manifest.commit([], [b"a" * 16, b"b" * 16], Entries(messages=[message]))
    assert manifest.known_batches([b"a" * 16, b"b" * 16]) == {b"a" * 16}
    manifest.close()


def test_the_api_and_the_command_show_the_ledger(
    stored: LedgerArchive, eventually: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.publish(batch(labelled(0, event("a"))))
    stored.publish_receipt(receipt({0: 1}))
    stored.start()
    eventually(lambda: stored.acknowledged() == 2, what="acknowledged")
    database = SearchDatabase(SearchLimits(seconds=60), folders=[tmp_path])
    api = events_app.create(
        ArchiveSearch(FolderArchive([]), database),
        KnownCallers(),
        Health({}),
        CollectorRegistry(),
        ledger=stored.reader(),
    )

    def get(path: str, query: Any, headers: Any = VIEWER) -> tuple[int, bytes]:
        async def ask() -> tuple[int, bytes]:
            client = api.test_client()
            answer = await client.get(path, query_string=query, headers=headers)
            return answer.status_code, await answer.get_data(as_text=False)

        return asyncio.run(ask())

    hours = {"since": SINCE.isoformat(), "until": UNTIL.isoformat()}
    status, body = get("/api/v1/ledger", hours)
    assert status == 200
    assert msgspec.json.decode(body, type=LedgerReport) == stored.report()
    assert get("/api/v1/ledger", hours, {})[0] == 401
    assert get("/api/v1/ledger", {"since": "yesterday"})[0] == 400
    assert get("/api/v1/ledger", {"since": "1990-01-01T00:00:00Z"})[0] == 400
    assert get("/api/v1/ledger", {"user": "alice"})[0] == 400

    monkeypatch.setattr(archive_api, "get", lambda url, path, query: get(path, query)[1])
    arguments = ["--since", hours["since"], "--until", hours["until"]]
    printed = CliRunner().invoke(ledger_cli.command, arguments)
    assert printed.exit_code == 0, printed.output
    assert "okta" in printed.output
    assert "balanced" in printed.output
    stored.publish(batch(labelled(1, event("b")), events=9))
    eventually(lambda: stored.acknowledged() == 3, what="acknowledged")
    printed = CliRunner().invoke(ledger_cli.command, arguments)
    assert printed.exit_code == 1
    assert "the analysis counted 9 events, and the archive 1" in printed.output


def test_the_monitor_shows_and_logs_differences(stored: LedgerArchive, eventually: Any) -> None:
    # Given a missing message of 4 events, and a batch with another number of events
    later_ms = ACCEPTED_MS + GRACE // dt.timedelta(milliseconds=1) + 1
    stored.publish_receipt(receipt({0: 4}))
    stored.publish(batch(labelled(1, event("a"), accepted_ms=later_ms), events=3))
    stored.start()
    eventually(lambda: stored.acknowledged() == 2, what="acknowledged")
    registry = CollectorRegistry()
    monitor = LedgerMonitor(
        stored.reader(), LedgerMetrics(registry), interval_seconds=3600, now=lambda: UNTIL
    )

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"auditflow_ledger_{name}", labels)

    assert math.isnan(value("waiting_events") or 0)
    # when it checks twice
    with capture_logs() as logged:
        monitor.check()
        monitor.check()
    # then each difference is logged once
    assert value("different_events", kind="missing") == 4
    assert value("different_events", kind="altered") == 0
    assert value("different_events", kind="batch") == 2
    assert value("waiting_events") == 0
    assert [entry["kind"] for entry in logged] == ["missing", "batch"]
