"""Faults of the archive process and its servers under load, and the check of the result."""

import datetime as dt
import os
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
from prometheus_client import CollectorRegistry
from src.tests.archive_load import Load
from src.tests.platform import samples, total
from src.tests.written_archive import ACCEPTED_MS, Archive

from audit_analysis.archive.maintenance import Maintenance
from audit_analysis.archive.maintenance_manifest import MaintenanceManifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.table import hour_of
from audit_analysis.ledger.reading import LedgerReader
from auditflow.contract.ledger_report import LedgerReport, LedgerState
from auditflow_local.polling import eventually
from auditflow_local.servers.postgres_roles import ARCHIVE
from auditflow_local.service_process import ServiceProcess


class Faults:
    """The process, its servers, the load, and the faults."""

    def __init__(self, archive: Archive, process: ServiceProcess, postgres: Any, seed: int) -> None:
        self.archive = archive
        self.process = process
        self.postgres = postgres
        self.random = random.Random(seed)
        self.load = Load(archive.rabbitmq, seed)

    def continue_load(self) -> None:
        self.load.wait(self.random.randint(1, 25))

    def kill_process(self) -> None:
        self.process.kill()
        self.continue_load()
        self.process.respawn()

    def pause_process(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        self.continue_load()
        os.kill(self.process.pid, signal.SIGCONT)

    def kill_postgres(self) -> None:
        self.postgres.kill()
        self.continue_load()
        self.postgres.start()

    def lock_postgres(self) -> None:
        """Let the writer wait for a lock."""
        connection = psycopg2.connect(self.archive.database.dsn(ARCHIVE))
        with connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE archive.files, archive.batches")
            self.continue_load()
        connection.close()

    def end_sessions(self) -> None:
        """End all sessions of the process at PostgreSQL."""
        connection = psycopg2.connect(self.archive.database.dsn(ARCHIVE))
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = user"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        connection.close()

    def kill_broker(self) -> None:
        self.archive.rabbitmq.kill()
        self.archive.rabbitmq.start()

    def close_connections(self) -> None:
        """Close all connections of the broker."""
        self.archive.rabbitmq.ctl("close_all_connections", "a fault")

    def pauses(self) -> float:
        """How often the process could not write. It is reset when the process is started again."""
        return total(samples(f"{self.process.url}/metrics"), "auditflow_archive_pauses_total")

    def wait_for_pause(self, before: float) -> None:
        """Wait until the writer has failed to write since ``before``."""
        eventually(lambda: self.pauses() > before, what="a pause of the writer")

    def run(self, kinds: Sequence[Callable[[], None]], count: int) -> None:
        """Cause ``count`` faults under load, each kind at least once, in a random order."""
        order = [*kinds, *self.random.choices(kinds, k=count - len(kinds))]
        self.random.shuffle(order)
        self.load.start()
        for fault in order:
            self.continue_load()
            fault()
        self.continue_load()
        self.load.end()

    def check(self) -> None:
        """The archive holds exactly the accepted events, and the manifest equals the files."""
        manifest = self.archive.manifest
        manifest.close()  # its connection has ended with a fault
        expected = len(self.load.accepted)

        def rows() -> int:
            return sum(file.rows for file in manifest.snapshot())

        eventually(lambda: rows() >= expected, what="all events", seconds=120)
        eventually(lambda: self.archive.ready() == 0, what="an empty queue", seconds=60)
        # The last receipt may be delivered and not stored yet.
        eventually(lambda: self.ledger().total.unconfirmed == 0, what="all receipts")
        self.process.stop()
        # No duplicate, also before compaction: each batch is committed once.
        assert self.read() == sorted(self.load.accepted)
        # Files that were stored and not committed are orphans, which the maintenance removes. Its
        # first run also merges all files, and the second one deletes the files that were merged.
        for days in (2, 3):
            self.maintain(days)
        assert self.read() == sorted(self.load.accepted)
        flags = "count(*) FILTER (late), count(*) FILTER (clamped), count(*) FILTER (staged)"
        assert self.query(flags) == [(self.load.late, self.load.clamped, self.load.staged)]
        self.archive.check_files()
        self.check_ledger()

    def ledger(self) -> LedgerReport:
        """The report of the hour of all events."""
        hour = hour_of(ACCEPTED_MS)
        reader = LedgerReader(lambda: psycopg2.connect(self.archive.database.dsn(ARCHIVE)))
        return reader.report(since=hour, until=hour + dt.timedelta(hours=1))

    def check_ledger(self) -> None:
        report = self.ledger()
        count, load = len(self.load.accepted), self.load
        assert (report.state, report.differences) == (LedgerState.BALANCED, ())
        found = report.total
        assert (found.accepted, found.archived) == (count, count)
        assert (found.analysed, found.refused) == (count - load.refused, load.refused)
        assert (found.late, found.staged) == (load.late, load.staged)
        assert (found.waiting, found.missing, found.unconfirmed) == (0, 0, 0)

    def maintain(self, days: int) -> None:
        """Run the maintenance some days later."""
        merger = ParquetWriter(
            self.archive.folder / ".unfinished/test",
            memory_mebibytes=256,
            threads=1,
            storage=self.archive.storage,
        )
        Maintenance(
            MaintenanceManifest(lambda: psycopg2.connect(self.archive.database.dsn(ARCHIVE))),
            self.archive.storage,
            merger,
            retention_days=36_500,
            metrics=ArchiveMetrics(CollectorRegistry()),
            clock=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(days=days),
        ).run()
        merger.close()

    def read(self) -> list[str]:
        """The identifiers of all events, in order."""
        return [name for (name,) in self.query("event_id", "ORDER BY event_id")]

    def query(self, columns: str, order: str = "") -> list[tuple[Any, ...]]:
        files = [
            self.archive.storage.address(file.path) for file in self.archive.manifest.snapshot()
        ]
        with duckdb.connect() as connection:
            self.archive.storage.register(connection)
            query = f"SELECT {columns} FROM read_parquet(?) {order}"
            return connection.execute(query, [files]).fetchall()


def fill(folder: Path) -> Path:
    """Fill a disk. Returns the file that fills it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as opened:
        for size in (1024 * 1024, 4096):
            with suppress(OSError):
                while True:
                    opened.write(bytes(size))
    return filler
