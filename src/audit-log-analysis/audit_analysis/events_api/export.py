"""Encodes events for exports: NDJSON with the records, or Parquet with the archive's columns."""

import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Final

import duckdb
import msgspec

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api import encoding
from audit_analysis.events_api.database import (
    PENDING,
    SearchTooLarge,
    TooManySearches,
    arrow_table,
)
from audit_analysis.events_api.parameters import ExportFormat

CONTENT_TYPES: Final = {
    ExportFormat.NDJSON: "application/x-ndjson",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
}
#: Maximum size of the temporary files of a Parquet export. apps/audit-event-archive gives /tmp four
#: times this size.
MAX_FILE_BYTES: Final = 256 * 1024 * 1024
#: Maximum number of Parquet exports at once, until their last byte is sent.
MAX_PARQUET_EXPORTS: Final = 2
#: Maximum memory of a Parquet export, and the number of rows that it compresses at once.
_MEMORY_MEBIBYTES: Final = 80
_GROUP_ROWS: Final = 8192
_PART_BYTES: Final = 256 * 1024
_parquet_exports: Final = threading.BoundedSemaphore(MAX_PARQUET_EXPORTS)


def encode(parts: Iterable[list[ArchivedEvent]], form: ExportFormat) -> Iterator[bytes]:
    """The encoded events. Closes ``parts`` at its end, so that their search ends too.

    Raises:
        SearchTooLarge: a Parquet file would be too large.
        TooManySearches: too many Parquet files are exported.
    """
    try:
        yield from _parquet(parts) if form is ExportFormat.PARQUET else _ndjson(parts)
    finally:
        if isinstance(parts, Generator):
            parts.close()


def _ndjson(parts: Iterable[list[ArchivedEvent]]) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    for part in parts:
        yield encoder.encode_lines([encoding.detail(event) for event in part])


def _parquet(parts: Iterable[list[ArchivedEvent]]) -> Iterator[bytes]:
    """A Parquet file. Its index is at its end, so it is written completely before it is sent."""
    if not _parquet_exports.acquire(blocking=False):
        raise TooManySearches("other Parquet exports are in progress")
    try:
        with tempfile.TemporaryDirectory(prefix="auditflow-export-") as name:
            file = _write(parts, Path(name))
            with file.open("rb") as opened:
                while chunk := opened.read(_PART_BYTES):
                    yield chunk
    finally:
        _parquet_exports.release()


def _write(parts: Iterable[list[ArchivedEvent]], folder: Path) -> Path:
    rows, file = folder / "rows.duckdb", folder / "events.parquet"
    try:
        with duckdb.connect(
            rows,
            config={
                "memory_limit": f"{_MEMORY_MEBIBYTES}MiB",
                "threads": 1,
                "temp_directory": "",
            },
        ) as connection:
            connection.register(PENDING, arrow_table([]))
            connection.execute(f"CREATE TABLE events AS SELECT * FROM {PENDING}")
            for part in parts:
                connection.register(PENDING, arrow_table(part))
                connection.execute(f"INSERT INTO events SELECT * FROM {PENDING}")
                if sum(written.stat().st_size for written in folder.iterdir()) > MAX_FILE_BYTES:
                    limit = MAX_FILE_BYTES // (1024 * 1024)
                    raise SearchTooLarge(
                        f"a Parquet export is limited to {limit} MiB; NDJSON has no such limit"
                    )
            connection.execute(
                "COPY events TO $file (FORMAT parquet, COMPRESSION zstd,"
                f" ROW_GROUP_SIZE {_GROUP_ROWS})",
                {"file": str(file)},
            )
    except duckdb.OutOfMemoryException:
        raise SearchTooLarge("the export needs more memory than its limit") from None
    rows.unlink()
    return file
