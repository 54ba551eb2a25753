"""The index of identifiers finds the files of each event, and survives changes and damage."""

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.decoding import refused_row
from audit_analysis.archive.id_index import INDEX, IdIndex, Segment, hash_of
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.table import hour_of
from auditflow.errors import Unavailable

DAY = dt.datetime(2026, 5, 28, tzinfo=dt.UTC)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


class Folder:
    """Files of an archive, and an index of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[ArchiveFile] = []
        self.writer = ParquetWriter(folder / ".unfinished", memory_mebibytes=64, threads=1)
        self.index = IdIndex(folder / INDEX)
        self.number = 0

    def add(self, names: list[str], *, hour: int = 0, compacted: bool = False) -> str:
        at = int(DAY.timestamp() * 1000) + hour * 3_600_000
        rows = [refused_row(b"{}", "r", at, None)._replace(event_id=name) for name in names]
        written = self.writer.write(rows)
        self.number += 1
        path = f"{self.number}.parquet"
        written.local.rename(self.folder / path)
        self.files.append(
            written.stored(
                path, tier="volume", hour=hour_of(at), source="other", compacted=compacted
            )
        )
        return path

    def update(self, now: dt.datetime = DAY) -> None:
        self.index.update(
            self.files, lambda path: str(self.folder / path), self.writer.sorted_ids, now=now
        )

    def select(self, name: str) -> set[str]:
        return self.index.select(name, [file.path for file in self.files])

    def segments(self) -> list[Path]:
        return sorted((self.folder / INDEX).iterdir())


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.writer.close()


@settings(max_examples=30, deadline=None)
@given(files=st.lists(st.lists(TEXT, min_size=1, max_size=20), min_size=1, max_size=6),
       indexed=st.integers(0, 6), later=st.booleans())  # fmt: skip
def test_every_file_of_an_identifier_is_selected(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], indexed: int, later: bool
) -> None:
    stored = Folder(tmp_path_factory.mktemp("archive"))
    for number, names in enumerate(files):
        if number == indexed:
            stored.update()
        stored.add(names, hour=number % 3, compacted=True)
    if later:
        stored.update(DAY + dt.timedelta(days=2))
        assert len(stored.segments()) == 1
    for name in {name for names in files for name in names}:
        expected = {
            file.path
            for file, names in zip(stored.files, files, strict=True)
            if name in names
        }  # fmt: skip
        found = stored.select(name)
        assert expected <= found
        if later:
            assert found == expected
    stored.writer.close()


def test_a_lookup_selects_one_of_many_files(stored: Folder) -> None:
    # Given a day with many events, whose segments were merged
    for hour in range(24):
        stored.add([f"event-{hour}-{n}" for n in range(2000)], hour=hour, compacted=True)
    stored.update(DAY + dt.timedelta(hours=25))
    assert len(stored.segments()) == 24  # the day may still change
    stored.update(DAY + dt.timedelta(hours=26))
    assert len(stored.segments()) == 1
    # then each identifier selects its file, and an unknown one selects none
    for hour in range(24):
        for number in range(0, 2000, 97):
            assert stored.select(f"event-{hour}-{number}") == {f"{hour + 1}.parquet"}
    assert stored.select("event-24-0") == set()
    assert stored.select("") == set()
    # and a new process reads the same segments
    stored.index = IdIndex(stored.folder / INDEX)
    assert stored.select("event-7-97") == {"8.parquet"}


def test_segments_follow_the_files_of_the_archive(stored: Folder) -> None:
    first = stored.add(["a", "b"])
    second = stored.add(["b", "c"])
    stored.update()
    assert (stored.select("b"), stored.select("a")) == ({first, second}, {first})
    # A new file is searched until it has a segment.
    third = stored.add(["d"])
    assert stored.select("a") == {first, third}
    stored.update()
    assert stored.select("a") == {first}
    # A file that does not belong to the archive any more is not selected.
    stored.files.pop(0)
    assert (stored.select("a"), stored.select("b")) == (set(), {second})
    stored.files.clear()
    stored.update()
    assert stored.segments() == []


def test_a_damaged_segment_is_built_again(stored: Folder) -> None:
    path = stored.add(["a", "b", "c"])
    stored.add(["d"])
    stored.update()
    (segment,) = stored.segments()
    for damage in (b"", b"auditids1\n", segment.read_bytes()[:-1], segment.read_bytes() + b"x"):
        for file in stored.segments():
            file.unlink()
        (stored.folder / INDEX / "damaged").write_bytes(damage)
        stored.index = IdIndex(stored.folder / INDEX)
        assert stored.segments() == []
        assert stored.select("a") == {file.path for file in stored.files}
        stored.update()
        assert stored.select("a") == {path}


def test_a_file_that_cannot_be_read_leaves_the_index_as_it_is(stored: Folder) -> None:
    path = stored.add(["a"])
    stored.update()
    missing = stored.add(["b"], hour=1)
    (stored.folder / missing).unlink()
    with pytest.raises(Unavailable):
        stored.update()
    assert len(stored.segments()) == 1
    assert stored.select("a") == {path, missing}


def test_identifiers_at_the_ends_of_a_segment_are_found(stored: Folder) -> None:
    names = sorted((f"n{number}" for number in range(5000)), key=hash_of)
    stored.add(names)
    stored.add(names[:1])
    stored.update()
    (file,) = stored.segments()
    segment = Segment(file)
    for name in (names[0], names[1], names[-2], names[-1]):
        assert "1.parquet" in segment.find(hash_of(name))
    assert segment.find(0) == segment.find(2**64 - 2**16) == set()


def test_an_identifier_of_many_events_is_found_with_few_reads(stored: Folder) -> None:
    # Given a sender that gave thousands of events the same identifier
    paths = {stored.add(["repeated"] * 5000 + [f"n{number}"]) for number in range(2)}
    stored.update()
    (file,) = stored.segments()
    segment = Segment(file)
    items = CountedReads(segment._items)
    segment._items = items  # type: ignore[assignment]
    # when it is searched, then the index does not read an item for each event
    assert segment.find(hash_of("repeated")) == paths
    assert items.reads < 200


class CountedReads:
    """A sequence that counts how often an item is read."""

    def __init__(self, items: Sequence[int]) -> None:
        self._items = items
        self.reads = 0

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: int) -> int:
        self.reads += 1
        return self._items[position]
