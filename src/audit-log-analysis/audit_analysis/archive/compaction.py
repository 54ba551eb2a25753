"""Compaction: the small files of a closed hour and a log source become one file, or few large ones.

Duplicates are removed. The manifest replaces the files in one transaction.
"""

import datetime as dt
from collections.abc import Callable
from typing import Final

from audit_analysis.archive.archived_file import ArchiveFile, path_of
from audit_analysis.archive.maintenance_manifest import MaintenanceSession, Partition
from audit_analysis.archive.parquet import OutOfMemory, ParquetWriter
from audit_analysis.archive.storage import Storage
from auditflow.errors import Unavailable

#: Files are not merged until this time after the end of their hour.
CLOSED_AFTER: Final = dt.timedelta(minutes=10)
#: Approximate maximum size of a merged file, if the memory is sufficient for it.
MERGED_BYTES: Final = 64 * 1024 * 1024
#: Maximum number of files for an hour and a source. Each one needs a pass over all files.
MAX_PARTS: Final = 256
#: Free space that a merge needs, as a multiple of its files: for new and temporary files.
_FREE_FACTOR: Final = 4
_HOUR: Final = dt.timedelta(hours=1)


class Compaction:
    """Merges files. One thread uses it."""

    def __init__(
        self, storage: Storage, files: ParquetWriter, *, merged_bytes: int = MERGED_BYTES
    ) -> None:
        """``files`` reads ``storage``."""
        self._storage = storage
        self._files = files
        self._merged_bytes = merged_bytes

    def partitions(self, session: MaintenanceSession, now: dt.datetime) -> list[Partition]:
        """The partitions whose files can be merged at ``now``."""
        return session.uncompacted(closed_before=now - _HOUR - CLOSED_AFTER)

    def merge(
        self, session: MaintenanceSession, partition: Partition, clock: Callable[[], dt.datetime]
    ) -> int:
        """Merge the files of a partition. Returns the number of replaced files.

        Raises:
            Unavailable: the files cannot be merged now; or a file differs from the manifest, and
                must not get a new hash.
        """
        files = session.files(partition)
        if not files:
            return 0
        size = sum(file.size for file in files)
        free = self._storage.free_bytes()
        if free is not None and free < _FREE_FACTOR * size:
            raise Unavailable("storage", f"a merge needs {_FREE_FACTOR * size} free bytes")
        for file in files:
            if self._storage.sha256(file.path) != file.sha256:
                raise Unavailable("storage", f"{file.path} differs from the manifest")
        addresses = [self._storage.address(file.path) for file in files]
        merged = self._merge_in_parts(addresses, partition, max(1, -(-size // self._merged_bytes)))
        session.replace([file.path for file in files], merged, now=clock())
        return len(files)

    def _merge_in_parts(
        self, addresses: list[str], partition: Partition, parts: int
    ) -> list[ArchiveFile]:
        """The merged files. The number of parts is doubled until the memory is sufficient."""
        while True:
            merged: list[ArchiveFile] = []
            try:
                for part in range(parts):
                    file = self._merge_part(addresses, partition, part, parts)
                    if file is not None:
                        merged.append(file)
            except OutOfMemory:
                for file in merged:
                    self._storage.delete(file.path)
                if parts >= MAX_PARTS:
                    raise
                parts *= 2
            else:
                return merged

    def _merge_part(
        self, addresses: list[str], partition: Partition, part: int, parts: int
    ) -> ArchiveFile | None:
        written = self._files.merge(addresses, part=part, parts=parts)
        try:
            if not written.rows:
                return None
            path = path_of(partition.hour, partition.source)
            self._storage.store(written.local, path)
        finally:
            written.local.unlink(missing_ok=True)
        return written.stored(
            path,
            tier=self._storage.tier,
            hour=partition.hour,
            source=partition.source,
            compacted=True,
        )
