"""The maintenance of the archive, with a real database and folder, and a clock of the test."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import psycopg2
import pytest
from src.tests.maintained_archive import CLOSED, DAY, HOUR, MINUTE, Archive

from audit_analysis.archive.compaction import Compaction
from audit_analysis.archive.maintenance import REMOVED_GRACE, Maintenance
from audit_analysis.archive.maintenance_manifest import MaintenanceManifest, MaintenanceSession
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.storage import FolderStorage
from auditflow.errors import Unavailable
from auditflow_local.servers.postgres_roles import ARCHIVE


class Crash(BaseException):
    """Ends a run as the end of the process does."""


@pytest.fixture
def archive(postgres: Any, tmp_path: Path) -> Iterator[Archive]:
    item = Archive(postgres.fresh_database(), tmp_path / "archive")
    yield item
    item.close()


def test_files_of_a_closed_hour_are_merged_without_duplicates(archive: Archive) -> None:
    small = {archive.add(b"a", b"b"), archive.add(b"b", b"c"), archive.add(b"a")}
    other = archive.add(b"a", source="okta")
    archive.now = HOUR + 69 * MINUTE
    archive.run()
    assert archive.paths() == {*small, other}  # the hour is not closed yet

    archive.now = CLOSED
    archive.run()

    assert archive.records() == [b"a", b"a", b"b", b"c"]
    assert {(file.source, file.rows, file.compacted) for file in archive.manifest.snapshot()} == {
        ("linux", 3, True),
        ("okta", 1, True),
    }
    archive.check_files()
    assert small < archive.stored()  # a reader with an older snapshot can finish

    archive.now += REMOVED_GRACE + MINUTE
    archive.run()
    assert archive.stored() == archive.paths()
    assert archive.value("deleted_files_total", reason="replaced") == 4
    assert archive.value("merged_files_total") == 4
    assert archive.value("maintenance_runs_total", outcome="done") == 3


def test_a_late_file_is_merged_into_the_file_of_its_hour(archive: Archive) -> None:
    archive.add(b"a")
    archive.run()
    (first,) = archive.paths()
    archive.run()
    assert archive.paths() == {first}  # a compacted file is not written again
    archive.add(b"a", b"b")
    archive.run()
    (merged,) = archive.manifest.snapshot()
    assert merged.rows == 2


def test_a_large_hour_is_merged_in_parts(archive: Archive) -> None:
    records = [b"%d" % number for number in range(300)]
    for _ in range(2):
        archive.add(*records)
    parts = Compaction(archive.storage, archive.merger, merged_bytes=8 * 1024)
    manifest = MaintenanceManifest(lambda: psycopg2.connect(archive.database.dsn(ARCHIVE)))
    with manifest.session("volume") as session:
        assert session is not None
        (partition,) = parts.partitions(session, CLOSED)
        assert parts.merge(session, partition, lambda: CLOSED) == 2
    assert len(archive.paths()) > 1
    assert archive.records() == sorted(records)
    archive.check_files()


def test_a_merge_needs_limited_memory(archive: Archive) -> None:
    letters = Random(1)
    for _ in range(8):
        archive.add(*(letters.randbytes(2000) for _ in range(4000)))
    before = archive.records()

    archive.run()

    assert len(archive.paths()) > 1  # 64 MB of records did not fit in 64 MiB of memory
    assert archive.stored() > archive.paths()
    assert archive.records() == before
    archive.check_files()
    archive.now += REMOVED_GRACE + MINUTE
    archive.run()
    assert archive.stored() == archive.paths()


def test_a_changed_file_is_not_merged(archive: Archive) -> None:
    changed = archive.add(b"a")
    archive.add(b"b", source="okta")
    path = archive.folder / changed
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)

    archive.run()

    states = {file.source: file.compacted for file in archive.manifest.snapshot()}
    assert states == {"linux": False, "okta": True}
    assert archive.value("maintenance_runs_total", outcome="failed") == 1


def test_a_merge_leaves_free_space(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive.add(b"a")
    monkeypatch.setattr(archive.storage, "free_bytes", lambda: 100)
    archive.run()
    assert archive.paths() == archive.stored() == {path}


def crash_before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise Crash

    monkeypatch.setattr(owner, name, fail)


def crash_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    original = getattr(owner, name)

    def fail(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        raise Crash

    monkeypatch.setattr(owner, name, fail)


@pytest.mark.parametrize("crash", [crash_before, crash_after])
@pytest.mark.parametrize(
    ("owner", "name", "days"),
    [
        (ParquetWriter, "merge", 0),
        (FolderStorage, "store", 0),
        (MaintenanceSession, "replace", 0),
        (MaintenanceSession, "start_deletion", 1),
        (FolderStorage, "delete", 1),
        (MaintenanceSession, "forget", 1),
        (MaintenanceSession, "expire", 91),
        (MaintenanceSession, "start_deletion", 92),
        (FolderStorage, "delete", 92),
        (MaintenanceSession, "forget", 92),
    ],
)
def test_a_run_completes_a_run_that_crashed(
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    crash: Callable[..., None],
    owner: Any,
    name: str,
    days: int,
) -> None:
    archive.add(b"a", b"b")
    archive.add(b"b", b"c")
    archive.add(b"d", source="okta")
    for day in (0, 1, 91, 92):
        archive.now = CLOSED + day * DAY
        if day == days:
            with monkeypatch.context() as patch:
                crash(patch, owner, name)
                with pytest.raises(Crash):
                    archive.run()
            archive.check_files()
            archive.merger.close()
            archive.merger = archive.new_merger()
        archive.run()
        archive.check_files()
        assert archive.records() == ([b"a", b"b", b"c", b"d"] if day < 91 else [])
    archive.now = CLOSED + 93 * DAY
    new_ms = int(archive.now.timestamp() * 1000)
    archive.add(b"new", received_ms=new_ms)  # the manifest is not empty, so orphans are removed
    archive.run()
    archive.run()
    assert archive.stored() == archive.paths()
    assert archive.records() == [b"new"]
    assert not list((archive.folder / ".unfinished/merge").glob("*.parquet"))


def test_the_second_of_two_runs_at_the_same_time_is_skipped(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add(b"a")
    archive.add(b"b")
    second = archive.maintenance()
    original = ParquetWriter.merge

    def merge(*arguments: Any, **options: Any) -> Any:
        second.run()
        return original(*arguments, **options)

    monkeypatch.setattr(ParquetWriter, "merge", merge)
    archive.run()
    assert archive.value("maintenance_runs_total", outcome="skipped") == 1
    assert archive.value("maintenance_runs_total", outcome="done") == 1
    assert archive.records() == [b"a", b"b"]


def test_a_session_that_lost_its_lock_changes_nothing_twice(archive: Archive) -> None:
    paths = [archive.add(b"a"), archive.add(b"b")]
    archive.run()
    manifest = MaintenanceManifest(lambda: psycopg2.connect(archive.database.dsn(ARCHIVE)))
    with manifest.session("volume") as session:
        assert session is not None
        with pytest.raises(Unavailable, match="files changed while they were merged"):
            session.replace(paths, [], now=CLOSED)
    assert archive.records() == [b"a", b"b"]


def test_a_merge_does_not_replace_a_file_that_is_held_meanwhile(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive.add(b"a")
    original = ParquetWriter.merge

    def merge(*arguments: Any, **options: Any) -> Any:
        archive.hold()
        return original(*arguments, **options)

    monkeypatch.setattr(ParquetWriter, "merge", merge)
    archive.run()
    assert archive.paths() == {path}


def test_maintenance_does_not_run_without_postgresql(archive: Archive) -> None:
    def refuse() -> Any:
        raise psycopg2.OperationalError("no server")

    Maintenance(
        MaintenanceManifest(refuse),
        archive.storage,
        archive.merger,
        retention_days=90,
        metrics=archive.metrics,
    ).run()
    assert archive.value("maintenance_runs_total", outcome="failed") == 1


def test_the_thread_runs_until_it_is_stopped(archive: Archive, eventually: Any) -> None:
    archive.add(b"a")
    archive.now = CLOSED
    maintenance = Maintenance(
        MaintenanceManifest(lambda: psycopg2.connect(archive.database.dsn(ARCHIVE))),
        archive.storage,
        archive.merger,
        retention_days=90,
        metrics=archive.metrics,
        interval_seconds=0.01,
        clock=lambda: archive.now,
    )
    maintenance.start()
    try:
        eventually(
            lambda: [file.compacted for file in archive.manifest.snapshot()] == [True],
            what="a compacted file",
        )
        assert maintenance.alive() is None
    finally:
        maintenance.stop()


def test_free_space_is_a_metric(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    assert math.isnan(archive.value("free_bytes") or 0)
    archive.metrics.observe_free_bytes(archive.storage.free_bytes)
    assert (archive.value("free_bytes") or 0) > 0
    archive.metrics.observe_free_bytes(lambda: None)
    assert math.isnan(archive.value("free_bytes") or 0)
    archive.metrics.observe_free_bytes(FolderStorage(archive.folder / "missing").free_bytes)
    assert math.isnan(archive.value("free_bytes") or 0)
