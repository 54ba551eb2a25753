"""The log of files: what it says is the manifest, after any sequence of changes of the archive."""

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from audit_analysis.archive.archived_file import path_of
from audit_analysis.archive.decoding import refused_row
from audit_analysis.archive.event_leaves import LEAF_HASH, leaf_of
from audit_analysis.archive.maintenance import Maintenance
from audit_analysis.archive.maintenance_manifest import MaintenanceManifest
from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.storage import FolderStorage
from audit_analysis.archive.table import ArchivedEvent, hour_of
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.proofs import EventProofs
from auditflow.merkle.tree import leaf_hash, root, verify_inclusion
from auditflow_local.servers.postgres_roles import APP, ARCHIVE
from notification_service.audit.file_check import FileLog, FilesChanged, Result, check

HOUR_MS = 3_600_000
START_MS = 1_780_000_000_000 // HOUR_MS * HOUR_MS
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


class Archive:
    """An archive in a folder, with its maintenance at the time ``now``."""

    def __init__(self, database: Any, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.now = dt.datetime.now(dt.UTC)
        self.storage = FolderStorage(folder)
        self.manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
        self.manifest.migrate()
        self.writer = ParquetWriter(folder / ".unfinished", memory_mebibytes=64, threads=1)
        self.merger = ParquetWriter(folder / ".unfinished/m", memory_mebibytes=64, threads=1)
        self.metrics = ArchiveMetrics(CollectorRegistry())

    def add(self, *rows: ArchivedEvent) -> None:
        written = self.writer.write(rows)
        hour = hour_of(rows[0].received_ms)
        path = path_of(hour, "other")
        self.storage.store(written.local, path)
        file = written.stored(path, tier="volume", hour=hour, source="other")
        self.manifest.commit([file], [])

    def maintain(self) -> None:
        Maintenance(
            MaintenanceManifest(lambda: psycopg2.connect(self.database.dsn(ARCHIVE))),
            self.storage,
            self.merger,
            retention_days=90,
            metrics=self.metrics,
            clock=lambda: self.now,
        ).run()

    def execute(self, statement: str) -> None:
        connection = psycopg2.connect(self.database.dsn(ARCHIVE))
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def log(self, role: str = APP) -> FileLog:
        """The log, as the notification service reads it."""
        connection = psycopg2.connect(self.database.dsn(role))
        log = FileLog()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT number, entry FROM archive.file_log ORDER BY number")
            for expected, (number, entry) in enumerate(cursor.fetchall(), start=1):
                assert number == expected
                assert len(entry.encode()) <= 65_535
                log.add(entry.encode())
        connection.close()
        return log

    def hashes(self) -> dict[str, str | None]:
        proofs = EventProofs(
            self.manifest, SearchDatabase(SearchLimits(), folders=[self.folder]),
            address=self.storage.address, sha256=self.storage.sha256,
        )  # fmt: skip
        found: dict[str, str | None] = {}
        after: str | None = ""
        while after is not None:
            page = proofs.hashes(after)
            found |= {file.path: file.sha256 for file in page.files}
            after = page.next_after
        return found

    def close(self) -> None:
        self.manifest.close()
        self.writer.close()
        self.merger.close()


@pytest.fixture
def make_archive(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return lambda: Archive(postgres.fresh_database(), tmp_path_factory.mktemp("archive"))


def row(name: str, *, hour: int = 0, record: bytes = b"{}") -> ArchivedEvent:
    received_ms = START_MS + hour * HOUR_MS + 5
    return refused_row(record, "reason", received_ms, None)._replace(event_id=name)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2)),
        st.tuples(st.just("maintain"), st.sampled_from([0, 1, 200])),
        st.tuples(st.just("hold"), st.booleans()),
    ),
    max_size=10,
)


@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(operations=OPERATIONS)
def test_the_log_equals_the_manifest_after_any_operations(
    make_archive: Any, operations: list[tuple[str, int]]
) -> None:
    archive = make_archive()
    for number, (operation, value) in enumerate(operations):
        if operation == "add":
            archive.add(row(f"e{number}", hour=value), row(f"f{number}", hour=value))
        elif operation == "maintain":
            archive.now += dt.timedelta(days=value)
            archive.maintain()
        elif value:
            archive.execute("INSERT INTO archive.holds (author, reason) VALUES ('a', 'case')")
        else:
            archive.execute("UPDATE archive.holds SET released_at = now(), released_by = 'a'")
        log = archive.log()
        files = archive.manifest.snapshot()
        assert {path: file.sha256 for path, file in log.present.items()} == {
            file.path: file.sha256.hex() for file in files
        }
        result = check(log, archive.hashes(), lambda: None, is_complete=True)
        assert result.files == len(files)
    archive.close()


def test_files_of_a_version_without_the_log_are_added(make_archive: Any) -> None:
    # Given files that an older version committed
    archive = make_archive()
    for number in range(3):
        archive.add(row(f"e{number}"))
    archive.execute("DELETE FROM archive.file_log")
    archive.execute("UPDATE archive.files SET log_number = NULL, events_root = NULL")
    # when the process starts, then the log has them once
    archive.manifest.migrate()
    archive.manifest.migrate()
    log = archive.log()
    assert set(log.present) == {file.path for file in archive.manifest.snapshot()}
    assert {file.events_root for file in log.present.values()} == {None}


def test_a_large_change_has_several_entries(make_archive: Any) -> None:
    archive = make_archive()
    archive.add(row("first"))
    (file,) = archive.manifest.snapshot()
    many = [
        file.__class__(**{
            **{name: getattr(file, name) for name in file.__struct_fields__},
            "path": f"{file.path}-{number}",
        })
        for number in range(250)
    ]  # fmt: skip
    archive.manifest.commit(many, [])
    assert len(archive.log().present) == 251
    assert archive.manifest.log_number(many[0].path) == 2
    assert archive.manifest.log_number(many[249].path) == 4


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.tuples(TEXT, st.binary(max_size=40), st.integers(0, 2**45)),
                   min_size=1, max_size=30),
    data=st.data(),
)  # fmt: skip
def test_each_event_of_a_file_has_a_proof(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[tuple[str, bytes, int]],
    data: st.DataObject,
) -> None:
    # Given a file with any identifiers and records
    folder = tmp_path_factory.mktemp("file")
    files = ParquetWriter(folder, memory_mebibytes=64, threads=1)
    rows = [
        row(name, record=record)._replace(occurred_ms=at, received_ms=at, refused=bool(at % 2))
        for name, record, at in names
    ]
    written = files.write(rows)
    with duckdb.connect() as connection:
        stored = connection.execute(
            f"SELECT event_id, received_ms, occurred_ms, refused, record, {LEAF_HASH}"
            " FROM read_parquet(?, file_row_number = true) ORDER BY file_row_number",
            [str(written.local)],
        ).fetchall()
    # then its root is that of the leaves in the order of the file
    leaves = [bytes.fromhex(leaf) for *_, leaf in stored]
    assert written.events_root == root(leaves)
    for event_id, received_ms, occurred_ms, refused, record, leaf in stored:
        event = row(event_id, record=record)._replace(
            received_ms=received_ms, occurred_ms=occurred_ms, refused=refused
        )
        assert leaf_hash(leaf_of(event)).hex() == leaf
    # and the service proves each event
    file = written.stored(written.local.name, tier="volume", hour=hour_of(0), source="other")
    proofs = EventProofs(
        OneFile(file), SearchDatabase(SearchLimits(), folders=[folder]),
        address=lambda path: str(folder.resolve() / path), sha256=lambda _: None,
    )  # fmt: skip
    sampled = data.draw(st.sampled_from(rows))
    proof = proofs.proof(sampled.event_id)
    assert proof is not None
    found = row(proof.event_id, record=proof.record)._replace(
        received_ms=proof.received_ms, occurred_ms=proof.occurred_ms, refused=proof.refused
    )
    verify_inclusion(
        leaf=leaf_hash(leaf_of(found)), index=proof.position, size=len(rows),
        proof=proof.proof, expected_root=bytes.fromhex(proof.file.events_root or ""),
    )  # fmt: skip
    assert proof.event_id == sampled.event_id
    files.close()


class OneFile:
    """A manifest with one file."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def paths(self) -> list[str]:
        return [self.file.path]

    def entries(self, paths: Any) -> list[Any]:
        return [self.file] if self.file.path in paths else []

    def page(self, *, after: str, limit: int) -> list[Any]:
        return [self.file] if self.file.path > after else []

    def log_number(self, path: str) -> int | None:
        return 1


def test_differences_that_the_log_explains_are_no_alarm(make_archive: Any) -> None:
    # Given a log, and files that are merged after it was read
    archive = make_archive()
    for number in range(3):
        archive.add(row(f"e{number}"))
    before, old = archive.log(), archive.hashes()
    archive.now += dt.timedelta(days=1)
    archive.maintain()
    new = archive.hashes()
    assert len(new) == 1
    # then the comparison reads the log again
    read = [archive.log()]
    assert check(before, new, read.pop, is_complete=True) == Result(3, 3, 0, None)
    assert check(archive.log(), new, lambda: None, is_complete=True) == Result(1, 3, 0, None)
    # and without an entry, each difference is reported
    with pytest.raises(FilesChanged, match=r"3 files are missing: .*; 1 files are not in the log"):
        check(before, new, lambda: None, is_complete=True)
    with pytest.raises(FilesChanged, match="1 files are missing"):
        check(archive.log(), old, lambda: None, is_complete=False)
    (path,) = new
    with pytest.raises(FilesChanged, match="1 files have another content"):
        check(archive.log(), {path: "0" * 64}, lambda: None, is_complete=True)
    archive.close()
