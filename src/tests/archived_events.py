"""An archive in a folder for tests: Parquet files with the columns of the real one."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api.archive_search import SearchedFile, Snapshot
from audit_analysis.events_api.database import arrow_table

START_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z


def archived(number: int, *, at_ms: int | None = None, **changes: Any) -> ArchivedEvent:
    """An event, one second after the one before."""
    occurred_ms = START_MS + number * 1000 if at_ms is None else at_ms
    fields: dict[str, Any] = {
        "event_id": f"e{number:05}",
        "received_ms": occurred_ms + 10,
        "occurred_ms": occurred_ms,
        "source": "auditflow",
        "event_type": "user_login",
        "severity": "INFO",
        "action_result": "SUCCESS",
        "source_service": None,
        "host": "web-01",
        "user": "alice",
        "address": "192.0.2.1",
        "resource": None,
        "product": "auditflow",
        "service": None,
        "category": None,
        "correlation_id": None,
        "late": False,
        "clamped": False,
        "staged": False,
        "refused": False,
        "reason": None,
        **changes,
    }
    record = changes.get("record") or msgspec.json.encode(
        {"event_id": fields["event_id"], "user_id": fields["user"]}
    )
    known = {name: fields[name] for name in ArchivedEvent._fields if name in fields}
    return ArchivedEvent(**{**known, "record": record})


def write(path: Path, events: Sequence[ArchivedEvent]) -> SearchedFile:
    """Write a Parquet file."""
    with duckdb.connect() as connection:
        connection.register("events", arrow_table(events))
        connection.execute(
            "COPY (SELECT * FROM events ORDER BY occurred_ms) TO $path"
            " (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 2048)",
            {"path": str(path)},
        )
    times = [event.occurred_ms for event in events]
    return SearchedFile(str(path), min(times), max(times))


class FolderArchive:
    """An ``Archive`` of known files and pending events."""

    def __init__(self, files: Iterable[SearchedFile], pending: Sequence[ArchivedEvent] = ()):
        self.files = list(files)
        self.pending = list(pending)

    def snapshot(
        self, *, since_ms: int | None, until_ms: int | None, sources: Sequence[str] | None
    ) -> Snapshot:
        del sources
        return Snapshot(
            [
                file
                for file in self.files
                if (since_ms is None or file.max_occurred_ms >= since_ms)
                and (until_ms is None or file.min_occurred_ms < until_ms)
            ],
            self.pending,
        )

    def snapshot_of_event(self, event_id: str) -> Snapshot:
        del event_id
        return Snapshot(self.files, self.pending)
