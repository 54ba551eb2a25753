"""Encodes events for exports: NDJSON with the records, or Parquet with the archive's columns."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import duckdb
import msgspec

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api import encoding
from audit_analysis.events_api.database import PENDING, arrow_table
from audit_analysis.events_api.parameters import ExportFormat

CONTENT_TYPES: Final = {
    ExportFormat.NDJSON: "application/x-ndjson",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
}
_PART_BYTES: Final = 256 * 1024


def encode(parts: Iterable[list[ArchivedEvent]], form: ExportFormat) -> Iterator[bytes]:
    """The encoded events."""
    return _parquet(parts) if form is ExportFormat.PARQUET else _ndjson(parts)


def _ndjson(parts: Iterable[list[ArchivedEvent]]) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    for part in parts:
        yield encoder.encode_lines([encoding.detail(event) for event in part])


def _parquet(parts: Iterable[list[ArchivedEvent]]) -> Iterator[bytes]:
    """A Parquet file. Its index is at its end, so it is written completely before it is sent."""
    with tempfile.TemporaryDirectory(prefix="auditflow-export-") as folder:
        rows, file = Path(folder) / "rows.duckdb", Path(folder) / "events.parquet"
        with duckdb.connect(rows, config={"memory_limit": "128MiB", "threads": 1}) as connection:
            connection.register(PENDING, arrow_table([]))
            connection.execute(f"CREATE TABLE events AS SELECT * FROM {PENDING}")
            for part in parts:
                connection.register(PENDING, arrow_table(part))
                connection.execute(f"INSERT INTO events SELECT * FROM {PENDING}")
            connection.execute(
                "COPY events TO $file (FORMAT parquet, COMPRESSION zstd)", {"file": str(file)}
            )
        with file.open("rb") as opened:
            while chunk := opened.read(_PART_BYTES):
                yield chunk
