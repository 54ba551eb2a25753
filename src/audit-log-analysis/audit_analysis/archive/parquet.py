"""Writes and merges Parquet files with DuckDB, within limits of memory and threads."""

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
from arro3.core import Array, DataType, Table
from msgspec import Struct, structs

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.event_leaves import LEAF_HASH
from audit_analysis.archive.id_index import ITEM
from audit_analysis.archive.storage import Storage
from audit_analysis.archive.table import (
    PROCESSED_US,
    STORED_COLUMNS,
    ArchivedEvent,
    columns_of,
    rows_of,
)
from auditflow.errors import Unavailable
from auditflow.merkle.tree import GrowingTree

#: Maximum rows of a row group: the unit that a search skips. It is smaller if records are large.
ROW_GROUP_ROWS: Final = 50_000
#: A column whose values fit in a dictionary of this size gets a bloom filter. The identifiers of a
#: row group fit, and the records do not.
_DICTIONARY_BYTES: Final = 4 * 1024 * 1024
#: Number of hashes that are read at once.
_HASHES: Final = 10_000
#: Maximum size of the temporary files of a merge.
_SPILL_SIZE: Final = "8GiB"
_ARROW: Final = {
    "VARCHAR": DataType.utf8(),
    "BIGINT": DataType.int64(),
    "BOOLEAN": DataType.bool(),
    "BLOB": DataType.binary(),
}
_NAMES: Final = ", ".join(f'"{name}"' for name in STORED_COLUMNS)
# Level 1 takes a fifth less time than level 3, and its files are smaller: 87 instead of 97 bytes
# for an event of the stream of logins, 69 instead of 74 for one of Kubernetes.
#: The options of ``COPY`` for a file of the archive.
FILE_OPTIONS: Final = (
    "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v1,"
    f" ROW_GROUP_SIZE {ROW_GROUP_ROWS}, ROW_GROUP_SIZE_BYTES '8MiB',"
    f" DICTIONARY_SIZE_LIMIT {ROW_GROUP_ROWS},"
    f" STRING_DICTIONARY_PAGE_SIZE_LIMIT {_DICTIONARY_BYTES}"
)
_STATISTICS: Final = (
    "SELECT count(*), coalesce(min(occurred_ms), 0), coalesce(max(occurred_ms), 0),"
    " coalesce(min(received_ms), 0), coalesce(max(received_ms), 0),"
    f" coalesce(min({PROCESSED_US}), 0), coalesce(max({PROCESSED_US}), 0)"
)

#: The fields of ``UnstoredFile`` with the times of ``_STATISTICS``.
_TIMES: Final = (
    "min_occurred_ms", "max_occurred_ms", "min_received_ms", "max_received_ms",
    "min_processed_us", "max_processed_us",
)  # fmt: skip


class OutOfMemory(Unavailable):
    """The memory limit or the limit of temporary files is too low for the rows."""


class UnstoredFile(Struct, frozen=True):
    """A complete file that is not in the storage yet. Times are as in ``ArchiveFile``."""

    local: Path
    rows: int
    size: int
    min_occurred_ms: int
    max_occurred_ms: int
    min_received_ms: int
    max_received_ms: int
    min_processed_us: int
    max_processed_us: int
    sha256: bytes
    events_root: bytes

    def stored(
        self, path: str, *, tier: str, hour: dt.datetime, source: str, compacted: bool = False
    ) -> ArchiveFile:
        """The entry of the manifest, when the file is in the storage under ``path``."""
        content = structs.asdict(self)
        del content["local"]
        return ArchiveFile(
            path=path, tier=tier, hour=hour, source=source, compacted=compacted, **content
        )


class ParquetWriter:
    """Writes files to a folder of unfinished files. One thread at a time uses it."""

    def __init__(
        self, folder: Path, *, memory_mebibytes: int, threads: int, storage: Storage | None = None
    ) -> None:
        """Delete the files that an earlier process did not finish. ``storage`` is for ``merge``.

        ``threads`` is the maximum number of threads of DuckDB.
        """
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            if left.is_file():
                left.unlink()
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory_mebibytes}MiB",
                "threads": threads,
                "temp_directory": str(folder / "spill"),
                "max_temp_directory_size": _SPILL_SIZE,
                "preserve_insertion_order": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            },
        )
        if storage is not None:
            storage.register(self._connection)
        self._running: duckdb.DuckDBPyConnection | None = None

    def write(self, rows: Sequence[ArchivedEvent]) -> UnstoredFile:
        """Write rows, sorted by time.

        Raises:
            Unavailable: the file cannot be written, for example because the disk is full.
        """
        table = Table.from_pydict(
            {
                name: Array(values, _ARROW[kind])
                for (name, kind), values in zip(
                    STORED_COLUMNS.items(), columns_of(rows), strict=True
                )
            }
        )
        cursor = self._connection.cursor()
        try:
            cursor.register("new_rows", table)
            return self._copy(cursor, f"SELECT {_NAMES} FROM new_rows ORDER BY occurred_ms")
        finally:
            cursor.close()

    def merge(self, addresses: Sequence[str], *, part: int = 0, parts: int = 1) -> UnstoredFile:
        """Merge files, and remove duplicates. Of a duplicate, the row that the analysis processed
        first is kept.

        With several ``parts``, the rows of one ``part`` (from 0) are merged, in limited memory. The
        identifier decides to which part a row belongs. A part may be empty.

        A duplicate has the same identifier and the same record. Rows with the same identifier and
        different records are kept, so that nobody can hide an event by sending another one first.
        A record that was refused and later accepted is kept twice.

        Raises:
            OutOfMemory: the rows need more memory.
            Unavailable: a file cannot be read or written.
        """
        files = ", ".join(f"'{_quoted(address)}'" for address in addresses)
        query = (
            f"SELECT {_NAMES} FROM {rows_of(f'[{files}]')}"
            f" WHERE hash(event_id) % {int(parts)} = {int(part)}"
            " QUALIFY row_number() OVER (PARTITION BY event_id, refused, md5(record)"
            f" ORDER BY {PROCESSED_US}, position, received_ms, late) = 1 ORDER BY occurred_ms"
        )
        cursor = self._connection.cursor()
        try:
            return self._copy(cursor, query)
        finally:
            cursor.close()

    def sorted_ids(self, addresses: Sequence[str]) -> Iterator[list[int]]:
        """The items of the index of identifiers for these files, sorted, in parts.

        Raises:
            Unavailable: a file cannot be read, or the memory is not sufficient.
        """
        cursor = self._connection.cursor()
        self._running = cursor
        try:
            cursor.execute(
                f"SELECT {ITEM} AS item FROM (SELECT event_id,"
                " list_position($files, filename) - 1 AS file_number"
                " FROM read_parquet($files, filename = true)) ORDER BY item",
                {"files": list(addresses)},
            )
            while rows := cursor.fetchmany(_HASHES):
                yield [item for (item,) in rows]
        except duckdb.Error as error:
            raise Unavailable("storage", str(error).partition("\n")[0][:300]) from error
        finally:
            self._running = None
            cursor.close()

    def interrupt(self) -> None:
        """End the current work with Unavailable. Any thread may call it."""
        running = self._running
        if running is not None:
            running.interrupt()

    def close(self) -> None:
        """Free the memory."""
        self._connection.close()

    def _copy(self, cursor: duckdb.DuckDBPyConnection, query: str) -> UnstoredFile:
        local = self._folder / f"{uuid.uuid4()}.parquet"
        self._running = cursor
        try:
            cursor.execute(f"COPY ({query}) TO '{_quoted(str(local))}' ({FILE_OPTIONS})")
            statistics: Any = cursor.execute(
                f"{_STATISTICS} FROM read_parquet('{_quoted(str(local))}')"
            ).fetchone()
            with local.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            rows, *times = statistics
            return UnstoredFile(
                local,
                rows,
                local.stat().st_size,
                **dict(zip(_TIMES, times, strict=True)),
                sha256=digest,
                events_root=_events_root(cursor, local),
            )
        except (duckdb.Error, OSError) as error:
            local.unlink(missing_ok=True)
            is_memory = isinstance(error, duckdb.OutOfMemoryException)
            kind = OutOfMemory if is_memory else Unavailable
            raise kind("storage", str(error).partition("\n")[0][:300]) from error
        finally:
            self._running = None


def _events_root(cursor: duckdb.DuckDBPyConnection, local: Path) -> bytes:
    """The root of the Merkle tree of the events of a file, in their order."""
    cursor.execute(
        f"SELECT {LEAF_HASH} FROM read_parquet('{_quoted(str(local))}', file_row_number = true)"
        " ORDER BY file_row_number"
    )
    growing = GrowingTree()
    while rows := cursor.fetchmany(_HASHES):
        for (leaf,) in rows:
            growing.add(bytes.fromhex(leaf))
    return growing.root()


def _quoted(text: str) -> str:
    return text.replace("'", "''")
