"""The log of files: what was added to the archive and what was removed, in order.

The notification service adds its entries to a signed Merkle log. Entries are numbered from 1
without gaps, and each is written in the transaction that changes the manifest.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from psycopg2.extras import execute_values

from audit_analysis.archive.archived_file import ArchiveFile
from auditflow.contract.audit import FileLogEntry, LoggedFile, RemovedFile

#: The name of the log, and the key of the lock of its numbers.
LOG: Final = "files"
_LOCK: Final = 4_712_021
#: Files of an entry. An entry of a log has at most 65,535 bytes; a file needs fewer than 400.
_FILES_PER_ENTRY: Final = 100
_encode = msgspec.json.Encoder().encode


def append(
    cursor: Any,
    *,
    at: dt.datetime,
    added: Sequence[ArchiveFile] = (),
    removed: Sequence[RemovedFile] = (),
) -> dict[str, int]:
    """Append entries in the caller's transaction. Returns the numbers of entries by added path.

    Other transactions that append wait until this transaction ends.
    """
    if not added and not removed:
        return {}
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    cursor.execute("SELECT coalesce(max(number), 0) FROM archive.file_log")
    (number,) = cursor.fetchone() or (0,)
    numbers: dict[str, int] = {}
    entries: list[tuple[int, str]] = []
    for entry in _entries(at, added, removed):
        number += 1
        entries.append((number, _encode(entry).decode()))
        numbers |= dict.fromkeys((file.path for file in entry.added), number)
    execute_values(cursor, "INSERT INTO archive.file_log (number, entry) VALUES %s", entries)
    return numbers


def logged(file: ArchiveFile) -> LoggedFile:
    """A file as the log describes it."""
    return LoggedFile(
        path=file.path,
        sha256=file.sha256.hex(),
        size=file.size,
        rows=file.rows,
        received_until_ms=file.max_received_ms,
        events_root=None if file.events_root is None else file.events_root.hex(),
    )


def _entries(
    at: dt.datetime, added: Sequence[ArchiveFile], removed: Sequence[RemovedFile]
) -> Iterator[FileLogEntry]:
    if len(added) + len(removed) <= _FILES_PER_ENTRY:
        yield FileLogEntry(at=at, added=tuple(map(logged, added)), removed=tuple(removed))
        return
    for start in range(0, len(added), _FILES_PER_ENTRY):
        part = added[start : start + _FILES_PER_ENTRY]
        yield FileLogEntry(at=at, added=tuple(map(logged, part)))
    for start in range(0, len(removed), _FILES_PER_ENTRY):
        yield FileLogEntry(at=at, removed=tuple(removed[start : start + _FILES_PER_ENTRY]))
