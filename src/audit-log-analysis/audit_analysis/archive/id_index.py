"""An index of event identifiers, so that a lookup by identifier opens few files.

A segment is a local file about some files of the archive. It contains a sorted array with an item
of eight bytes for each event: 48 bits of the hash of its identifier, and the number of the file in
the segment. The index is derived from the files, and is no source of truth: a file without a
segment is searched directly, and a wrong candidate costs only time.

There is a segment for each hour, and for each day that is over.
"""

import datetime as dt
import hashlib
import mmap
import os
import struct
import threading
import uuid
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from audit_analysis.archive.archived_file import ArchiveFile
from auditflow.errors import Unavailable

#: The folder of the segments, inside the folder of the archive.
INDEX: Final = ".ids"
#: Maximum number of files of a segment.
MAX_FILES: Final = 1 << 16
#: The item of an event in DuckDB, for a row of a file with the number ``file_number``.
ITEM: Final = (
    "((md5_number_upper(event_id) & 18446744073709486080::UBIGINT) | file_number::UBIGINT)"
)
#: A day is merged when it has been over for this time.
DAY_CLOSED: Final = dt.timedelta(hours=2)
_HASH_MASK: Final = 0xFFFF_FFFF_FFFF_0000
_FILE_MASK: Final = 0xFFFF
_ITEM_BYTES: Final = 8
_MAGIC: Final = b"auditids1\n"
_HEADER: Final = struct.Struct("<IQ")
#: A bracket of the binary search: this many standard deviations around the expected position.
_DEVIATIONS: Final = 8

#: Reads the items of files, sorted. The position of an address is the number of its file.
ReadItems = Callable[[Sequence[str]], Iterator[Sequence[int]]]


class _Header(Struct, frozen=True):
    paths: tuple[str, ...]


class Segment:
    """The identifiers of some files. Any thread may search it."""

    def __init__(self, file: Path) -> None:
        """Open a segment.

        Raises:
            ValueError: the file is damaged.
            OSError: it cannot be read.
        """
        self.file = file
        with file.open("rb") as opened:
            start = opened.read(len(_MAGIC) + _HEADER.size)
            if len(start) != len(_MAGIC) + _HEADER.size or not start.startswith(_MAGIC):
                raise ValueError(f"{file} is no segment")
            length, self._count = _HEADER.unpack(start[len(_MAGIC) :])
            offset = -(-(len(start) + length) // _ITEM_BYTES) * _ITEM_BYTES
            if file.stat().st_size != offset + self._count * _ITEM_BYTES:
                raise ValueError(f"{file} is not complete")
            self.paths = msgspec.json.decode(opened.read(length), type=_Header).paths
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._map.madvise(mmap.MADV_RANDOM)
        self._items = memoryview(self._map)[offset:].cast("Q")

    def find(self, wanted: int) -> set[str]:
        """The paths of the files that may have an identifier with the hash ``wanted`` (64 bits)."""
        count = self._count
        if not count:
            return set()
        # Hashes are uniform: the position is close to the expected one.
        expected = wanted * count >> 64
        width = _DEVIATIONS * (int((count / 4) ** 0.5) + 1)
        low, high = max(0, expected - width), min(count, expected + width)
        if self._items[low] >= wanted:
            low = 0
        if self._items[high - 1] < wanted:
            high = count
        position = bisect_left(self._items, wanted, low, high)
        found = set()
        while position < count and self._items[position] & _HASH_MASK == wanted:
            item = self._items[position]
            found.add(self.paths[item & _FILE_MASK])
            # A sender can give many events one identifier: continue with the next file.
            position = bisect_right(self._items, item, position)
        return found


class IdIndex:
    """All segments. One thread updates them, and any thread searches them."""

    def __init__(self, folder: Path) -> None:
        """Open the segments in a folder. Damaged ones are deleted."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        segments = []
        for file in sorted(folder.iterdir()):
            try:
                segments.append(Segment(file))
            except (ValueError, msgspec.MsgspecError):
                file.unlink()
        self._segments: tuple[Segment, ...] = tuple(segments)
        self._lock = threading.Lock()

    def select(self, event_id: str, paths: Iterable[str]) -> set[str]:
        """The paths of the files that may have an event with an identifier."""
        wanted = hash_of(event_id)
        given = set(paths)
        found: set[str] = set()
        without_segment = set(given)
        for segment in self._segments:
            without_segment.difference_update(segment.paths)
            found |= segment.find(wanted)
        return (found & given) | without_segment

    def update(
        self,
        files: Sequence[ArchiveFile],
        address: Callable[[str], str],
        read: ReadItems,
        *,
        now: dt.datetime,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Create and merge segments for the files of the archive, and delete others.

        Raises:
            Unavailable: a file cannot be read, or a segment cannot be written.
        """
        with self._lock:
            current = {file.path for file in files}
            self._keep(segment for segment in self._segments if current & set(segment.paths))
            covered = {path for segment in self._segments for path in segment.paths}
            failure: Unavailable | None = None
            for group in _groups(file for file in files if file.path not in covered):
                if is_stopped():
                    return
                try:
                    self._add(group, address, read)
                except Unavailable as error:  # a damaged file must not exclude those of other hours
                    failure = error
            if failure is not None:
                raise failure
            for group in self._closed_days(files, now):
                if is_stopped():
                    return
                merged = self._add(group, address, read)
                others = current - set(merged.paths)
                self._keep(
                    segment
                    for segment in self._segments
                    if segment is merged or others & set(segment.paths)
                )

    def _closed_days(
        self, files: Sequence[ArchiveFile], now: dt.datetime
    ) -> Iterator[list[ArchiveFile]]:
        """The files of each day that is over, is compacted, and has several segments."""
        days: dict[dt.date, list[ArchiveFile]] = defaultdict(list)
        for file in files:
            days[file.hour.astimezone(dt.UTC).date()].append(file)
        for day, group in sorted(days.items()):
            end = dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(days=1)
            if now < end + DAY_CLOSED or len(group) > MAX_FILES:
                continue
            if not all(file.compacted for file in group):
                continue
            paths = {file.path for file in group}
            if sum(1 for segment in self._segments if paths & set(segment.paths)) > 1:
                yield group

    def _add(
        self, group: Sequence[ArchiveFile], address: Callable[[str], str], read: ReadItems
    ) -> Segment:
        paths = tuple(file.path for file in group)
        header = msgspec.json.encode(_Header(paths))
        file = self._folder / str(uuid.uuid4())
        unfinished = self._folder.with_name(f"{self._folder.name}-unfinished")
        count = 0
        try:
            with unfinished.open("wb") as opened:
                opened.write(_MAGIC + _HEADER.pack(len(header), 0) + header)
                opened.write(bytes(-opened.tell() % _ITEM_BYTES))
                for part in read([address(path) for path in paths]):
                    array("Q", part).tofile(opened)
                    count += len(part)
                opened.seek(len(_MAGIC))
                opened.write(_HEADER.pack(len(header), count))
                opened.flush()
                os.fsync(opened.fileno())
            unfinished.replace(file)
            segment = Segment(file)
        except OSError as error:
            raise Unavailable("storage", str(error)) from error
        finally:
            unfinished.unlink(missing_ok=True)
        self._segments = (*self._segments, segment)
        return segment

    def _keep(self, segments: Iterable[Segment]) -> None:
        kept = tuple(segments)
        removed = set(self._segments) - set(kept)
        self._segments = kept
        for segment in removed:  # a search that uses it keeps its memory map
            segment.file.unlink(missing_ok=True)


def hash_of(event_id: str) -> int:
    """The hash of an identifier, with zeros in place of the number of the file."""
    digest = hashlib.md5(event_id.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "little") & _HASH_MASK


def _groups(files: Iterable[ArchiveFile]) -> Iterator[list[ArchiveFile]]:
    """Files by hour, oldest first."""
    hours: dict[dt.datetime, list[ArchiveFile]] = defaultdict(list)
    for file in files:
        hours[file.hour].append(file)
    for _, group in sorted(hours.items()):
        for start in range(0, len(group), MAX_FILES):
            yield group[start : start + MAX_FILES]
