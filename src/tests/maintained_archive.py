"""An archive with a maintenance, on a real database and in a folder, with a clock of the test."""

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
from prometheus_client import CollectorRegistry

from audit_analysis.archive.archived_file import path_of
from audit_analysis.archive.decoding import refused_row
from audit_analysis.archive.maintenance import Maintenance
from audit_analysis.archive.maintenance_manifest import MaintenanceManifest
from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.storage import FolderStorage
from audit_analysis.archive.table import hour_of
from auditflow_local.servers.postgres_roles import ARCHIVE

MINUTE = dt.timedelta(minutes=1)


DAY = dt.timedelta(days=1)


#: All events are received in the current hour.
NOW = dt.datetime.now(dt.UTC)


HOUR = NOW.replace(minute=0, second=0, microsecond=0)


RECEIVED_MS = int(HOUR.timestamp() * 1000) + 1000


CLOSED = HOUR + dt.timedelta(hours=1, minutes=11)


class Archive:
    """An archive in a folder, and its maintenance at the time ``now``."""

    def __init__(self, database: Any, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.now = CLOSED
        self.storage = FolderStorage(folder)
        self.registry = CollectorRegistry()
        self.metrics = ArchiveMetrics(self.registry)
        self.manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
        self.manifest.migrate()
        self.writer = ParquetWriter(folder / ".unfinished", memory_mebibytes=64, threads=1)
        self.merger = self.new_merger()

    def new_merger(self) -> ParquetWriter:
        return ParquetWriter(self.folder / ".unfinished/merge", memory_mebibytes=64, threads=1)

    def maintenance(self, **options: Any) -> Maintenance:
        return Maintenance(
            MaintenanceManifest(lambda: psycopg2.connect(self.database.dsn(ARCHIVE))),
            self.storage,
            self.merger,
            retention_days=90,
            metrics=self.metrics,
            clock=lambda: self.now,
            **options,
        )

    def run(self) -> None:
        self.maintenance().run()

    def add(self, *records: bytes, source: str = "linux", received_ms: int = RECEIVED_MS) -> str:
        """Write and commit a file with these records, as the writer does. Returns its path."""
        rows = [
            refused_row(record, "reason", received_ms, None)._replace(source=source)
            for record in records
        ]
        written = self.writer.write(rows)
        hour = hour_of(received_ms)
        path = path_of(hour, source)
        self.storage.store(written.local, path)
        self.manifest.commit([written.stored(path, tier="volume", hour=hour, source=source)], [])
        return path

    def execute(self, statement: str, *values: Any) -> None:
        connection = psycopg2.connect(self.database.dsn(ARCHIVE))
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
        connection.close()

    def hold(self, **limits: Any) -> None:
        self.execute(
            "INSERT INTO archive.holds (source, from_time, until_time, author, reason)"
            " VALUES (%s, %s, %s, 'alice', 'case 7')",
            limits.get("source"),
            limits.get("since"),
            limits.get("until"),
        )

    def release(self) -> None:
        self.execute("UPDATE archive.holds SET released_at = now(), released_by = 'alice'")

    def paths(self) -> set[str]:
        """The files of the manifest."""
        return {file.path for file in self.manifest.snapshot()}

    def stored(self) -> set[str]:
        """The files of the folder."""
        return {file.path for file in self.storage.files()}

    def records(self) -> list[bytes]:
        addresses = [self.storage.address(path) for path in self.paths()]
        if not addresses:
            return []
        rows = duckdb.execute("SELECT record FROM read_parquet(?)", [addresses]).fetchall()
        return sorted(record for (record,) in rows)

    def check_files(self) -> None:
        """Each file of the manifest is stored with its hash."""
        for file in self.manifest.snapshot():
            assert self.storage.sha256(file.path) == file.sha256

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"auditflow_archive_{name}", labels)

    def close(self) -> None:
        self.writer.close()
        self.merger.close()
        self.manifest.close()
