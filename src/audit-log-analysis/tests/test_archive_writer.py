"""The archive from the analysis' queue to files, with a real broker, database and storage."""

import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from src.tests.written_archive import ACCEPTED_MS, Archive, batch, event, message

from audit_analysis.archive.storage import FolderStorage
from auditflow.amqp import topology
from auditflow.contract import archive
from auditflow.contract.archive import ArchivedMessage, Note
from auditflow.errors import Unavailable


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
    writer = stored.start(buffer_bytes=2_000_000)
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
