"""The manifest in a real PostgreSQL, with the permissions of the archive's role."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.manifest import Manifest
from auditflow_local.servers.postgres_roles import APP, ARCHIVE

HOUR = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def file(path: str, first: int, last: int, source: str = "linux") -> ArchiveFile:
    return ArchiveFile(path, "volume", HOUR, source, 10, 1000, first, last, first, last, bytes(32))


@pytest.fixture
def database(postgres: Any) -> Any:
    return postgres.fresh_database()


@pytest.fixture
def manifest(database: Any) -> Iterator[Manifest]:
    manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
    manifest.migrate()
    manifest.migrate()
    yield manifest
    manifest.close()


def test_a_snapshot_contains_the_files_that_overlap(manifest: Manifest) -> None:
    files = [file("a", 0, 9), file("b", 10, 19), file("c", 15, 29, "other")]
    manifest.commit(files, [])
    assert manifest.snapshot() == [files[2], files[1], files[0]]
    assert manifest.snapshot(occurred_from_ms=10, occurred_until_ms=14) == [files[1]]
    assert manifest.snapshot(occurred_from_ms=19, occurred_until_ms=15) == [files[2], files[1]]
    assert manifest.snapshot(sources=["other"]) == [files[2]]


def test_a_commit_adds_files_and_batches_or_nothing(manifest: Manifest) -> None:
    manifest.commit([file("a", 0, 9)], [b"a" * 16])
    with pytest.raises(psycopg2.IntegrityError):
        manifest.commit([file("b", 0, 9), file("a", 0, 9)], [b"b" * 16])
    assert [item.path for item in manifest.snapshot()] == ["a"]
    assert manifest.known_batches([b"a" * 16, b"b" * 16]) == {b"a" * 16}


def test_the_other_roles_cannot_read_the_manifest(manifest: Manifest, database: Any) -> None:
    connection = psycopg2.connect(database.dsn(APP))
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM archive.files")
    connection.close()
