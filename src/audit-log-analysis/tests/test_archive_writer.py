"""The archive from the analysis' queue to files, with a real broker, database and storage."""

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pika
import psycopg2
import pytest
from prometheus_client import CollectorRegistry

from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.storage import FolderStorage, Storage
from audit_analysis.archive.writer import SERVICE, ArchiveWriter
from auditflow.amqp import Publisher, topology
from auditflow.amqp.delivery import encode_properties
from auditflow.contract import acceptance, archive
from auditflow.contract.archive import ArchivedMessage, Note
from auditflow.errors import Unavailable
from auditflow_local.servers.postgres_roles import ARCHIVE

ACCEPTED_MS = 1_780_000_000_000


def event(event_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "timestamp": "2026-05-28T20:26:40Z",
        "event_type": "login",
        "user_id": "alice",
        "server_hostname": "db-02",
        "details": {"ip_address": "10.0.0.1"},
        "logsource": {"product": "linux"},
        **fields,
    }


def message(*events: Any, accepted_ms: int = ACCEPTED_MS) -> ArchivedMessage:
    body = msgspec.json.encode(list(events)) if len(events) != 1 else msgspec.json.encode(events[0])
    properties = encode_properties(correlation_id="c-1", headers={acceptance.HEADER: accepted_ms})
    return ArchivedMessage(properties, body)


def batch(*messages: ArchivedMessage, notes: tuple[Note, ...] = ()) -> bytes:
    return archive.compress(messages).with_notes(notes, processed_ms=ACCEPTED_MS + 5)


class Archive:
    """A writer, and what a test does with its archive."""

    def __init__(self, rabbitmq: Any, database: Any, folder: Path) -> None:
        self.rabbitmq = rabbitmq
        self.database = database
        self.folder = folder
        self.storage: Storage = FolderStorage(folder)
        self.manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
        self.manifest.migrate()
        self.running: list[Callable[[], None]] = []
        self.registry = CollectorRegistry()

    def start(self, **options: Any) -> ArchiveWriter:
        parameters = self.rabbitmq.parameters(SERVICE)
        publisher = Publisher(parameters)
        files = ParquetWriter(self.folder / ".unfinished", memory_mebibytes=64, threads=1)
        self.registry = CollectorRegistry()
        writer = ArchiveWriter(
            parameters,
            self.manifest,
            self.storage,
            files,
            publisher,
            metrics=ArchiveMetrics(self.registry),
            **{"flush_seconds": 0.05, "buffer_bytes": 2**20, **options},
        )
        publisher.start()
        writer.start()
        self.running += [files.close, publisher.close, writer.stop]
        return writer

    def stop(self) -> None:
        while self.running:
            self.running.pop()()

    def publish(self, *bodies: bytes, headers: dict[str, Any] | None = None) -> None:
        with pika.BlockingConnection(self.rabbitmq.parameters("auditflow-admin")) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish(
                    topology.EXCHANGE,
                    topology.ARCHIVE_KEY,
                    body,
                    pika.BasicProperties(headers=headers),
                    mandatory=True,
                )

    def acknowledged(self) -> float:
        """Batches that the current writer has acknowledged."""
        return self.registry.get_sample_value("auditflow_archive_batches_total") or 0

    def ready(self, queue: str = topology.ARCHIVE) -> int:
        """Messages in a queue that no consumer has."""
        with pika.BlockingConnection(self.rabbitmq.parameters("auditflow-admin")) as connection:
            declared = connection.channel().queue_declare(queue, passive=True)
            return int(declared.method.message_count)

    def rows(self, columns: str = "*") -> list[tuple[Any, ...]]:
        files = [self.storage.address(file.path) for file in self.manifest.snapshot()]
        if not files:
            return []
        return duckdb.execute(
            f"SELECT {columns} FROM read_parquet(?) ORDER BY event_id", [files]
        ).fetchall()

    def check_files(self) -> None:
        """The manifest equals the files."""
        stored = {file.path: file.size for file in self.storage.files()}
        files = self.manifest.snapshot()
        assert {file.path: file.size for file in files} == stored
        for file in files:
            assert self.storage.sha256(file.path) == file.sha256
            address = self.storage.address(file.path)
            assert duckdb.execute(
                "SELECT count(*), min(occurred_ms), max(occurred_ms), min(received_ms),"
                " max(received_ms), min(source), max(source) FROM read_parquet(?)",
                [address],
            ).fetchone() == (
                file.rows, file.min_occurred_ms, file.max_occurred_ms, file.min_received_ms,
                file.max_received_ms, file.source, file.source,
            )  # fmt: skip


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
