"""The retention of archived files: expiry, holds, and files without an entry in the manifest."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from src.tests.maintained_archive import CLOSED, DAY, HOUR, MINUTE, NOW, Archive

from audit_analysis.archive.archived_file import path_of
from audit_analysis.archive.decoding import refused_row
from audit_analysis.archive.maintenance import MAX_CLOCK_DIFFERENCE, ORPHAN_GRACE, REMOVED_GRACE
from audit_analysis.archive.settings import Settings


@pytest.fixture
def archive(postgres: Any, tmp_path: Path) -> Iterator[Archive]:
    item = Archive(postgres.fresh_database(), tmp_path / "archive")
    yield item
    item.close()


def test_files_expire_after_the_retention(archive: Archive) -> None:
    archive.add(b"a")
    archive.add(b"old", received_ms=0)  # a sender can choose the time, but not the retention
    archive.run()
    archive.now = NOW + 90 * DAY - MINUTE
    archive.run()
    assert archive.records() == [b"a", b"old"]

    committed = dt.datetime.now(dt.UTC)  # the retention begins at the commit, which is after NOW
    archive.now = committed + 90 * DAY + 2 * MINUTE
    archive.run()
    assert archive.records() == []
    assert len(archive.stored()) == 2  # a reader with an older snapshot can finish

    archive.now += REMOVED_GRACE + MINUTE
    archive.run()
    assert archive.stored() == set()
    assert archive.value("deleted_files_total", reason="expired") == 2


@pytest.mark.parametrize("days", [91, -91])
def test_nothing_is_deleted_while_the_clock_is_wrong(archive: Archive, days: int) -> None:
    # Given files that expire, and a file without an entry, if the clock is right
    path = archive.add(b"a")
    orphan = path_of(HOUR, "linux")
    archive.storage.store(archive.writer.write([refused_row(b"{}", "r", 0, None)]).local, orphan)
    # when maintenance runs twice with a wrong clock
    for minutes in (0, 30):
        archive.now = NOW + days * DAY + minutes * MINUTE
        archive.maintenance(max_clock_difference=MAX_CLOCK_DIFFERENCE).run()
    # then no file is removed, and the runs failed
    assert archive.paths() == {path}
    assert archive.stored() == {path, orphan}
    assert archive.value("maintenance_runs_total", outcome="failed") == 2
    # With a right clock, a run succeeds.
    archive.now = dt.datetime.now(dt.UTC)
    archive.maintenance(max_clock_difference=MAX_CLOCK_DIFFERENCE).run()
    assert archive.value("maintenance_runs_total", outcome="done") == 1


def test_held_files_are_not_deleted_or_merged(archive: Archive) -> None:
    held = archive.add(b"a")
    archive.add(b"b", source="okta")
    archive.hold(source="linux", since=HOUR, until=HOUR + DAY)
    for days in (0, 91, 92):
        archive.now = CLOSED + days * DAY
        archive.run()
    assert archive.paths() == archive.stored() == {held}

    archive.release()
    for days in (93, 94):
        archive.now = CLOSED + days * DAY
        archive.run()
    assert archive.stored() == set()


@pytest.mark.parametrize(
    "limits",
    [
        {"source": "okta"},
        {"since": HOUR + DAY},
        {"until": HOUR},
    ],
)
def test_a_hold_covers_only_its_source_and_time(archive: Archive, limits: dict[str, Any]) -> None:
    archive.add(b"a")
    archive.hold(**limits)
    for days in (91, 92):
        archive.now = CLOSED + days * DAY
        archive.run()
    assert archive.stored() == set()


def test_a_hold_restores_expired_files_that_are_not_deleted_yet(archive: Archive) -> None:
    path = archive.add(b"a")
    archive.now = CLOSED + 91 * DAY
    archive.run()
    assert archive.paths() == set()
    archive.hold()
    archive.now += DAY
    archive.run()
    assert archive.paths() == archive.stored() == {path}


def test_files_without_an_entry_are_deleted_after_a_grace_period(archive: Archive) -> None:
    known = archive.add(b"a")
    orphan = path_of(HOUR, "linux")
    archive.storage.store(archive.writer.write([refused_row(b"x", "r", 0, None)]).local, orphan)
    foreign = archive.folder / "export.parquet"
    foreign.write_bytes(b"a file of another program")
    archive.hold()

    archive.now = NOW + ORPHAN_GRACE - MINUTE
    archive.run()
    assert orphan in archive.stored()

    archive.now = dt.datetime.now(dt.UTC) + ORPHAN_GRACE + MINUTE
    archive.run()
    assert archive.stored() == {known, "export.parquet"}
    assert archive.value("deleted_files_total", reason="orphan") == 1


def test_no_file_is_deleted_while_the_manifest_is_empty(archive: Archive) -> None:
    path = archive.add(b"a")
    archive.execute("DELETE FROM archive.files")
    archive.now += 10 * DAY
    archive.run()
    assert archive.stored() == {path}


def test_the_default_retention_depends_on_the_storage() -> None:
    def days(**values: Any) -> int:
        return Settings.model_construct(**values).retention_days()

    assert days() == 90
    assert days(archive_bucket="events") == 365
    assert days(archive_bucket="events", archive_retention_days=30) == 30
