"""A writer of the archive on a real broker and database, for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pika
import psycopg2
from prometheus_client import CollectorRegistry

from audit_analysis.archive.flusher import SERVICE
from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.storage import FolderStorage, Storage
from audit_analysis.archive.writer import ArchiveWriter
from auditflow.amqp import Publisher, topology
from auditflow.amqp.delivery import encode_properties
from auditflow.contract import acceptance, archive
from auditflow.contract.archive import ArchivedMessage, Note
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
        with duckdb.connect() as connection:
            self.storage.register(connection)
            for file in files:
                assert self.storage.sha256(file.path) == file.sha256
                found = connection.execute(
                    "SELECT count(*), min(occurred_ms), max(occurred_ms), min(received_ms),"
                    " max(received_ms), min(source), max(source) FROM read_parquet(?)",
                    [self.storage.address(file.path)],
                ).fetchone()
                assert found == (
                    file.rows, file.min_occurred_ms, file.max_occurred_ms, file.min_received_ms,
                    file.max_received_ms, file.source, file.source,
                )  # fmt: skip
