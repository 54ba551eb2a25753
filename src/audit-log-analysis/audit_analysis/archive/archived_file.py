"""A file of the archive, and its row in the manifest."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct
from psycopg2.extras import execute_values

#: The columns of ``ArchiveFile``, in the order of its fields.
COLUMNS: Final = (
    "path, tier, hour, source, rows, size, min_occurred_ms, max_occurred_ms, min_received_ms,"
    " max_received_ms, sha256, compacted, events_root, min_processed_us, max_processed_us"
)


class ArchiveFile(Struct, frozen=True):
    """A file of the archive.

    ``size`` is in bytes. Times are in milliseconds since 1970, both ends included. ``events_root``
    is the root of the Merkle tree of the events (see ``event_leaves``); None for older files.
    ``min_processed_us`` and ``max_processed_us`` are the times at which the analysis received the
    events, in microseconds since 1970; None for older files.
    """

    path: str
    tier: str
    hour: dt.datetime
    source: str
    rows: int
    size: int
    min_occurred_ms: int
    max_occurred_ms: int
    min_received_ms: int
    max_received_ms: int
    sha256: bytes
    compacted: bool = False
    events_root: bytes | None = None
    min_processed_us: int | None = None
    max_processed_us: int | None = None


def insert_files(
    cursor: Any,
    files: Sequence[ArchiveFile],
    *,
    numbers: dict[str, int],
    created_at: dt.datetime | None = None,
) -> None:
    """Add committed files. ``numbers``: their entries in the log of files, by path.

    ``created_at`` is the time of the transaction if it is None.
    """
    execute_values(
        cursor,
        f"INSERT INTO archive.files ({COLUMNS}, state, log_number, created_at) VALUES %s",
        [
            (
                *(getattr(file, name) for name in ArchiveFile.__struct_fields__),
                numbers[file.path],
                created_at,
            )
            for file in files
        ],
        template=(
            f"({'%s, ' * len(ArchiveFile.__struct_fields__)}'committed', %s, coalesce(%s, now()))"
        ),
    )


def file_of(row: tuple[Any, ...]) -> ArchiveFile:
    """The file of a row with ``COLUMNS``."""
    values = dict(zip(ArchiveFile.__struct_fields__, row, strict=True))
    root = values["events_root"]
    return ArchiveFile(
        **{
            **values,
            "sha256": bytes(values["sha256"]),
            "events_root": None if root is None else bytes(root),
        }
    )


def path_of(hour: dt.datetime, source: str) -> str:
    """A new path for a file. The manifest, not the path, states what a file contains."""
    return f"{hour:%Y/%m/%d/%H}/{source}-{uuid.uuid4()}.parquet"
