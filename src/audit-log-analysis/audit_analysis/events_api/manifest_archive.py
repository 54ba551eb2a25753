"""The archive for searches and hunts: the files of the manifest, and the events of the writer."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api.archive_search import SearchedFile, Snapshot
from audit_analysis.hunt.archive_hunt import HuntedFile


class Manifest(Protocol):
    """The part of the manifest that readers use. Raises Unavailable."""

    def snapshot(
        self,
        *,
        occurred_from_ms: int | None = None,
        occurred_until_ms: int | None = None,
        sources: Sequence[str] | None = None,
    ) -> list[ArchiveFile]:
        """The files of a time range, both ends included."""
        ...

    def paths(self) -> list[str]:
        """The paths of all files."""
        ...

    def entries(self, paths: Sequence[str]) -> list[ArchiveFile]:
        """The entries of files, also of those that were removed since."""
        ...


class ManifestArchive:
    """An ``Archive`` and a ``HuntedArchive``.

    ``address`` gives the address of a file for DuckDB. ``pending`` gives the events that the writer
    has not written yet. It is called before the manifest is read, so that no event is missed.
    ``select`` gives the paths of files that may have an event with an identifier.
    """

    def __init__(
        self,
        manifest: Manifest,
        address: Callable[[str], str],
        pending: Callable[[], Sequence[ArchivedEvent]] = lambda: (),
        select: Callable[[str, Iterable[str]], set[str]] = lambda _, paths: set(paths),
    ) -> None:
        self._manifest = manifest
        self._address = address
        self._pending = pending
        self._select = select

    def snapshot(
        self, *, since_ms: int | None, until_ms: int | None, sources: Sequence[str] | None
    ) -> Snapshot:
        """See ``Archive``."""
        pending = self._pending()
        files = self._manifest.snapshot(
            occurred_from_ms=since_ms,
            occurred_until_ms=None if until_ms is None else until_ms - 1,
            sources=sources,
        )
        return Snapshot(self._searched(files), pending)

    def snapshot_of_event(self, event_id: str) -> Snapshot:
        """See ``Archive``."""
        pending = [event for event in self._pending() if event.event_id == event_id]
        selected = self._select(event_id, self._manifest.paths())
        files = self._manifest.entries(sorted(selected)) if selected else []
        return Snapshot(self._searched(files), pending)

    def _searched(self, files: Iterable[ArchiveFile]) -> list[SearchedFile]:
        return [
            SearchedFile(self._address(file.path), file.min_occurred_ms, file.max_occurred_ms)
            for file in files
        ]

    def pending(self) -> Sequence[ArchivedEvent]:
        """See ``HuntedArchive``."""
        return self._pending()

    def files(self, *, since_ms: int, sources: Sequence[str] | None) -> list[HuntedFile]:
        """See ``HuntedArchive``."""
        return [
            HuntedFile(
                self._address(file.path),
                file.rows,
                file.min_occurred_ms,
                file.max_occurred_ms,
                _processed_us(file.min_processed_us, file.min_received_ms),
                _processed_us(file.max_processed_us, file.max_received_ms),
            )
            for file in self._manifest.snapshot(occurred_from_ms=since_ms, sources=sources)
        ]


def _processed_us(processed_us: int | None, received_ms: int) -> int:
    """The time at which the analysis received an event, or about that time, in microseconds."""
    return received_ms * 1000 if processed_us is None else processed_us
