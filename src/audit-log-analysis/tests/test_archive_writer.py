"""The archive from the analysis' queue to files, with a real broker, database and storage."""

import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from src.tests.written_archive import ACCEPTED_MS, Archive, batch, event, message

from audit_analysis.archive import receiver
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.settings import Settings
from audit_analysis.archive.storage import FolderStorage
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.manifest_archive import ManifestArchive
from audit_analysis.events_api.query import Condition, EventFilter, EventQuery
from auditflow.amqp import topology
from auditflow.contract import archive
from auditflow.contract.archive import ArchivedMessage, Note
from auditflow.contract.ledger import HOUR_MS
from auditflow.errors import Unavailable

#: The time after its acceptance within which an event can be searched.
SEARCHABLE_SECONDS = 5.0


@pytest.fixture
def stored(rabbitmq: Any, postgres: Any, tmp_path: Path) -> Iterator[Archive]:
    rabbitmq.empty(topology.ARCHIVE, f"{topology.ARCHIVE}.dlq")
    item = Archive(rabbitmq, postgres.fresh_database(), tmp_path / "archive")
    yield item
    item.stop()
    item.manifest.close()


def test_events_are_stored_completely(stored: Archive, eventually: Any) -> None:
    plain, listed = event("a"), event("b", resource="/etc/shadow", severity="CRITICAL")
    stored.publish(batch(message(plain), message(listed, event("c", user_id=None))))
    stored.start()
    eventually(lambda: len(stored.rows()) == 3, what="three rows")
    rows = stored.rows(
        'event_id, received_ms, occurred_ms, source, "user", host, address, resource, severity,'
        " correlation_id, refused, late, clamped, staged, record"
    )
    assert rows[0] == (
        "a", ACCEPTED_MS, ACCEPTED_MS, "linux", "alice", "db-02", "10.0.0.1", None, "INFO",
        "c-1", False, False, False, False, msgspec.json.encode(plain),
    )  # fmt: skip
    assert rows[1][7:9] == ("/etc/shadow", "CRITICAL")
    assert rows[1][-1] == msgspec.json.encode(listed)
    assert rows[2][4] is None
    stored.check_files()
    eventually(lambda: stored.acknowledged() == 1, what="acknowledged")
    stored.stop()
    assert stored.ready() == 0


def test_notes_become_flags(stored: Archive, eventually: Any) -> None:
    notes = (
        Note(message=0, event=0, late=True),
        Note(message=0, event=1, staged=True, clamped_ms=ACCEPTED_MS + 300_000),
        Note(message=0, event=2, refused="user_id is too long"),
        Note(message=2, event=archive.ALL_EVENTS, refused="ValueError: poison"),
    )
    messages = [
        message(event("a"), event("b"), event("c")),
        ArchivedMessage(b"", b"\xff"),
        message(event("d"), event("e")),
    ]
    stored.publish(batch(*messages, notes=notes))
    stored.start()
    eventually(lambda: len(stored.rows()) == 6, what="six rows")
    flags = {
        row[-1]: row[:-1]
        for row in stored.rows("late, staged, clamped, occurred_ms, refused, reason, record")
    }
    assert flags[msgspec.json.encode(event("a"))][:3] == (True, False, False)
    assert flags[msgspec.json.encode(event("b"))][:4] == (
        False, True, True, ACCEPTED_MS + 300_000,
    )  # fmt: skip
    assert flags[msgspec.json.encode(event("c"))][4:] == (True, "user_id is too long")
    assert flags[msgspec.json.encode(event("d"))][4:] == (True, "ValueError: poison")
    assert flags[msgspec.json.encode(event("e"))][4:] == (True, "ValueError: poison")
    refused, reason = flags[b"\xff"][4:]
    assert refused
    assert "UTF-8" in reason


def test_a_batch_that_is_delivered_again_is_stored_once(stored: Archive, eventually: Any) -> None:
    first = batch(message(event("a")))
    stored.publish(first)
    stored.start()
    eventually(lambda: len(stored.rows()) == 1, what="the first")
    stored.publish(first, first, batch(message(event("b"))))
    eventually(lambda: stored.acknowledged() == 4, what="acknowledged")
    assert [row[0] for row in stored.rows("event_id")] == ["a", "b"]
    stored.check_files()


def test_an_event_can_be_searched_before_a_file_is_written(
    stored: Archive, eventually: Any, tmp_path: Path
) -> None:
    # Given a writer with the default time until a flush, whose clock stands still
    flush_seconds = Settings.model_fields["archive_flush_seconds"].default
    writer = stored.start(flush_seconds=flush_seconds, clock=lambda: 0.0)
    database = SearchDatabase(SearchLimits(seconds=60), folders=[tmp_path])
    files = ManifestArchive(stored.manifest, stored.storage.address, writer.pending)
    search = ArchiveSearch(files, database)
    query = EventQuery(
        filter=EventFilter(since_ms=0, until_ms=2**45, conditions=(Condition("user", "alice"),))
    )
    assert not search.page(query).events
    # when an event arrives, then searches and lookups find it, and no file is needed
    stored.publish(batch(message(event("a"))))
    eventually(lambda: search.page(query).events, what="the event")
    found = search.event("a")
    assert found is not None
    assert found.record == message(event("a")).body
    assert not stored.manifest.paths()
    assert stored.acknowledged() == 0
    # The writer's wait for a delivery ends when one arrives, at the latest after this time.
    assert receiver.POLL_SECONDS <= SEARCHABLE_SECONDS / 5


def test_nothing_is_acknowledged_before_the_commit(stored: Archive, eventually: Any) -> None:

    class Full(FolderStorage):
        def store(self, source: Path, path: str) -> None:
            raise Unavailable("storage", "No space left on device")

    stored.storage = Full(stored.folder)
    stored.publish(batch(message(event("a"))))
    writer = stored.start()
    eventually(lambda: writer.pause_reason() is not None, what="paused")
    assert "No space left" in str(writer.pause_reason())
    assert [row.event_id for row in writer.pending()] == ["a"]
    assert stored.acknowledged() == 0
    stored.stop()
    assert stored.ready() == 1
    stored.storage = FolderStorage(stored.folder)
    stored.start()
    eventually(lambda: stored.acknowledged() == 1, what="stored")
    assert len(stored.rows()) == 1
    stored.check_files()


def test_a_batch_that_violates_the_contract_is_dead_lettered(
    stored: Archive, eventually: Any
) -> None:
    stored.publish(b"no batch", batch(message(event("a"))))
    stored.start()
    eventually(lambda: stored.acknowledged() == 2, what="acknowledged")
    assert stored.ready("audit_archive.dlq") == 1
    assert len(stored.rows()) == 1


def test_hostile_batches_are_dead_lettered_and_the_writer_continues(
    stored: Archive, eventually: Any
) -> None:
    """Any holder of the analysis' password can publish them."""
    now = ACCEPTED_MS
    many = archive.compress([ArchivedMessage(b"", b"[" + b"{}," * 19_000 + b"{}]")] * 5)
    rows = archive.compress([message(*[event("x")] * 2_000)] * 51)
    published = [
        archive.compress([message(event("late"))]).with_notes((), processed_ms=2**60),
        batch(message(event("y")), notes=(Note(message=0, event=0, clamped_ms=-(2**62)),)),
        rows.with_notes((), processed_ms=now),
        archive.compress([ArchivedMessage(b"", bytes(2**20))] * 40).with_notes((), processed_ms=0),
        many.with_notes((), processed_ms=now),  # few rows: valid
        batch(message(event("a"), accepted_ms=2**53)),  # the header is ignored: valid
        batch(message(event("b"))),
    ]
    stored.publish(*published)
    writer = stored.start()
    eventually(lambda: stored.acknowledged() == len(published), what="acknowledged")
    assert writer.alive() is None
    assert stored.ready("audit_archive.dlq") == 4
    assert [row[0] for row in stored.rows("event_id") if len(row[0]) == 1] == ["a", "b"]
    assert len(stored.rows("event_id")) == 2 + 5 * 21
    stored.check_files()


def test_a_batch_that_cannot_be_written_is_dead_lettered_alone(
    stored: Archive, eventually: Any
) -> None:
    class Faulty(FolderStorage):
        def store(self, source: Path, path: str) -> None:
            if b"poisoned" in source.read_bytes():
                raise KeyError("a fault of the writer")
            super().store(source, path)

    stored.storage = Faulty(stored.folder)
    poisoned = batch(message(event("poisoned")))
    stored.publish(batch(message(event("a"))), poisoned, batch(message(event("b"))))
    writer = stored.start(flush_seconds=0.5)
    eventually(lambda: stored.acknowledged() == 3, what="acknowledged")
    assert writer.alive() is None
    assert [row[0] for row in stored.rows("event_id")] == ["a", "b"]
    assert stored.ready("audit_archive.dlq") == 1
    stored.check_files()


def test_the_writer_reads_no_further_batch_while_its_buffers_are_full(
    stored: Archive, eventually: Any
) -> None:
    """While the storage is unavailable, 400 batches would fill the memory."""

    class Unreachable(FolderStorage):
        def store(self, source: Path, path: str) -> None:
            raise Unavailable("storage", "No space left on device")

    stored.storage = Unreachable(stored.folder)
    bodies = [
        batch(message(event(f"e-{number}", details={"text": "x" * 200_000})))
        for number in range(100)
    ]
    stored.publish(*bodies)
    writer = stored.start(buffer_bytes=2_000_000, flush_seconds=600)
    eventually(lambda: writer.pause_reason() is not None, what="paused")
    # a buffer is written and another one is full: each takes batches until it has 2 MB
    eventually(lambda: writer.pending_count() == 20, what="two full buffers")
    for _ in range(20):
        writer._receiver.wake()
        assert writer.pending_count() == 20
    stored.stop()
    assert stored.ready() == 100
    stored.storage = FolderStorage(stored.folder)
    stored.start(buffer_bytes=2_000_000)
    eventually(lambda: stored.acknowledged() == 100, what="stored")
    assert len(stored.rows("event_id")) == 100


def test_events_are_in_the_file_of_their_hour_and_source(stored: Archive, eventually: Any) -> None:
    hour = 3_600_000
    stored.publish(
        batch(
            message(event("a"), event("b", logsource={"product": "Windows"})),
            message(
                event("c", logsource={"product": uuid.uuid4().hex}), accepted_ms=ACCEPTED_MS + hour
            ),
        )
    )
    stored.start()
    eventually(lambda: len(stored.rows()) == 3, what="three rows")
    files = stored.manifest.snapshot()
    first = dt.datetime.fromtimestamp(ACCEPTED_MS // hour * 3600, tz=dt.UTC)
    assert sorted((file.hour, file.source) for file in files) == [
        (first, "linux"), (first, "windows"), (first + dt.timedelta(hours=1), "other"),
    ]  # fmt: skip


def test_a_sender_cannot_create_many_files(stored: Archive, eventually: Any) -> None:
    # Given events with 300 products, and with the hours of 300 years, by their timestamp and by
    # the header of the message
    hostile = ("../../etc/passwd", "/etc", "okta\x01", "OKTA", "\u202eatko", "x" * 5_000, "", ".")
    products = (*hostile, *(f"product-{number}" for number in range(300)))
    messages = [
        message(event(f"s{number}", logsource={"product": product}))
        for number, product in enumerate(products)
    ]
    for year in range(1900, 2200):
        timestamp = f"{year}-06-01T{year % 24:02}:30:00Z"
        without_header = event(f"t{year}", timestamp=timestamp)
        messages.append(ArchivedMessage(b"", msgspec.json.encode(without_header)))
        accepted_ms = (year - 1900) * 13_000_000_000
        messages.append(message(event(f"h{year}"), accepted_ms=accepted_ms))
    expected = len(messages)
    # when they are archived, twice
    first, second = batch(*messages), batch(*messages[1:], messages[0])
    stored.publish(first, second)
    stored.start(flush_seconds=600, buffer_bytes=2**26, prefetch=4)
    eventually(lambda: stored.acknowledged() == 2, what="both batches")
    # then the files are those of known sources and of years
    files = stored.manifest.snapshot()
    assert len({(file.hour, file.source) for file in files}) == len(files) <= 150
    assert {file.source for file in files} == {"linux", "okta", "other"}
    assert len(stored.rows()) == 2 * expected
    stored.check_files()


@pytest.mark.parametrize("offset_ms", [-1, 0, HOUR_MS - 1, HOUR_MS])
def test_events_at_the_border_of_an_hour_are_in_its_file(
    stored: Archive, eventually: Any, tmp_path: Path, offset_ms: int
) -> None:
    hour_ms = ACCEPTED_MS // HOUR_MS * HOUR_MS
    time_ms = hour_ms + offset_ms
    timestamp = dt.datetime.fromtimestamp(time_ms / 1000, tz=dt.UTC).isoformat()
    stored.publish(batch(message(event("a", timestamp=timestamp), accepted_ms=time_ms)))
    stored.start()
    eventually(lambda: stored.acknowledged() == 1, what="the event")
    (file,) = stored.manifest.snapshot()
    assert file.hour.timestamp() * 1000 == time_ms // HOUR_MS * HOUR_MS
    # and it is found by a search that begins with it, and by none that ends before it
    database = SearchDatabase(SearchLimits(seconds=60), folders=[tmp_path])
    search = ArchiveSearch(ManifestArchive(stored.manifest, stored.storage.address), database)
    for since_ms, until_ms, count in (
        (time_ms, time_ms + 1, 1), (time_ms - 1, time_ms, 0), (time_ms + 1, time_ms + 2, 0),
    ):  # fmt: skip
        page = search.page(EventQuery(filter=EventFilter(since_ms=since_ms, until_ms=until_ms)))
        assert len(page.events) == count


def test_events_with_one_identifier_do_not_replace_each_other(
    stored: Archive, eventually: Any, tmp_path: Path
) -> None:
    # Given three different records with one identifier, one of them twice, in several batches
    records = [event("a", user_id=user) for user in ("alice", "bob", "carol")]
    stored.publish(
        batch(message(*records)), batch(message(records[0], event("b"))), batch(message(records[2]))
    )
    stored.start()
    eventually(lambda: stored.acknowledged() == 3, what="all batches")
    # when the files are merged, then each record is there once
    files = [stored.storage.address(file.path) for file in stored.manifest.snapshot()]
    merger = ParquetWriter(tmp_path / "merged", memory_mebibytes=64, threads=1)
    merged = merger.merge(files)
    merger.close()
    found = duckdb.execute(
        'SELECT event_id, "user" FROM read_parquet(?) ORDER BY ALL', [str(merged.local)]
    ).fetchall()
    assert found == [("a", "alice"), ("a", "bob"), ("a", "carol"), ("b", "alice")]
