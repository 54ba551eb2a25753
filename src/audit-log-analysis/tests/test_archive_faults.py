"""The archive loses no event while its disk is full, and after a restore."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from src.tests.written_archive import Archive, batch, event, message

from audit_analysis.archive.storage import FolderStorage
from auditflow.amqp import topology


@pytest.fixture
def stored(rabbitmq: Any, postgres: Any, tmp_path: Path) -> Iterator[Archive]:
    rabbitmq.empty(topology.ARCHIVE, f"{topology.ARCHIVE}.dlq")
    item = Archive(rabbitmq, postgres.fresh_database(), tmp_path / "archive")
    yield item
    item.stop()
    item.manifest.close()


def numbered(count: int) -> tuple[list[str], list[bytes]]:
    """Event ids in order, and a batch for each."""
    names = [f"e{number:03}" for number in range(count)]
    return names, [batch(message(event(name))) for name in names]


def read(archive: Archive) -> list[str]:
    """The event ids in the files of the manifest."""
    files = [archive.storage.address(file.path) for file in archive.manifest.snapshot()]
    with duckdb.connect() as connection:
        archive.storage.register(connection)
        query = "SELECT event_id FROM read_parquet(?) ORDER BY event_id"
        return [row[0] for row in connection.execute(query, [files]).fetchall()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)),
        capture_output=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(("umount", "--lazy", str(folder)), check=True)


def test_events_wait_in_the_broker_while_the_disk_is_full(
    stored: Archive, small_disk: Path, eventually: Any
) -> None:
    # Given a full disk
    stored.folder = small_disk / "archive"
    stored.storage = FolderStorage(stored.folder)
    stored.folder.mkdir()
    filler = small_disk / "filler"
    fill(filler)
    names, batches = numbered(5)
    stored.publish(*batches)
    # when the writer runs, then it reports the reason, and keeps all batches in the queue
    writer = stored.start()
    eventually(lambda: writer.pause_reason() is not None, what="a pause")
    assert "space" in str(writer.pause_reason())
    assert stored.acknowledged() == 0
    # and new events can be searched
    eventually(lambda: len(writer.pending()) == 5, what="five pending events")
    # when the disk has space again, then all are stored
    filler.unlink()
    eventually(lambda: stored.acknowledged() == 5, what="all acknowledged")
    assert read(stored) == names
    stored.check_files()


def fill(file: Path) -> None:
    file.touch()
    with file.open("wb") as opened:
        os.posix_fallocate(opened.fileno(), 0, shutil.disk_usage(file).free)


def test_a_restored_manifest_and_copied_files_are_the_archive(
    stored: Archive, postgres: Any, eventually: Any, tmp_path: Path
) -> None:
    # Given an archive, a dump of its manifest as backup.sh makes it, and a copy of its files
    names, batches = numbered(6)
    stored.publish(*batches[:3])
    stored.start()
    eventually(lambda: stored.acknowledged() == 3, what="the first events")
    stored.stop()
    dump = tmp_path / "archive.dump"
    run("pg_dump", "--format=custom", "--schema=archive", f"--file={dump}", dsn=stored.database)
    shutil.copytree(stored.folder, tmp_path / "copy")
    # when both are restored on an empty server, as the how-to describes
    database = postgres.fresh_database()
    run("pg_restore", "--clean", "--if-exists", "--single-transaction", str(dump), dsn=database)
    restored = Archive(stored.rabbitmq, database, tmp_path / "copy")
    # then it is complete, known batches are stored once, and new ones are added
    assert read(restored) == names[:3]
    stored.publish(*batches)
    restored.start()
    eventually(lambda: restored.acknowledged() == 6, what="all events")
    assert read(restored) == names
    restored.check_files()
    restored.stop()
    restored.manifest.close()


def run(program: str, *arguments: str, dsn: Any) -> None:
    address = f"--dbname={dsn.dsn('postgres')}"
    done = subprocess.run(
        (program, address, *arguments), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
