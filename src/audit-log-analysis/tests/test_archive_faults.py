"""The archive loses no event while its disk is full, and after a restore."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from src.tests.written_archive import Archive, batch, event, message

from audit_analysis.archive.copy_files import InvalidCopy, load, save
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
    with (tmp_path / "files.tar").open("wb") as target:
        assert save(stored.folder, target) == len(stored.manifest.paths())
    # when both are restored on an empty server, as the how-to describes
    database = postgres.fresh_database()
    run("pg_restore", "--clean", "--if-exists", "--single-transaction", str(dump), dsn=database)
    with (tmp_path / "files.tar").open("rb") as source:
        load(tmp_path / "copy", source)
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


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def copy(tmp_path: Path) -> bytes:
    """A copy of two files; there is an unfinished one too."""
    folder = tmp_path / "original"
    for path in ("2026/05/28/20/okta-1.parquet", "other.parquet", ".unfinished/x.parquet"):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode() * 1000)
        os.utime(file, (0, 0))
    stream = io.BytesIO()
    assert save(folder, stream) == 2
    return stream.getvalue()


def test_a_copy_is_loaded_once_and_replaces_no_file(copy: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    assert load(folder, io.BytesIO(copy)) == 2
    stored = files_in(folder)
    assert sorted(stored) == ["2026/05/28/20/okta-1.parquet", "other.parquet"]
    # New files: the maintenance deletes old files without an entry.
    assert all(file.modified.year > 2000 for file in FolderStorage(folder).files())
    (folder / "other.parquet").write_bytes(b"of the archive")
    assert load(folder, io.BytesIO(copy)) == 0
    assert (folder / "other.parquet").read_bytes() == b"of the archive"


def test_an_incomplete_copy_is_reported_and_leaves_complete_files(
    copy: bytes, tmp_path: Path
) -> None:
    original = files_in(tmp_path / "original")
    for length in range(0, copy.index(b".complete"), 512):
        folder = tmp_path / f"archive-{length}"
        with pytest.raises(InvalidCopy):
            load(folder, io.BytesIO(copy[:length]))
        assert files_in(folder).items() <= original.items()


@pytest.mark.parametrize(
    "name",
    ["../outside.parquet", "/tmp/outside.parquet", "a/../../outside.parquet", ".ids/x.parquet",
     "not-a-file-of-an-archive.txt", "a.parquet/.."],
)  # fmt: skip
def test_other_files_are_refused(name: str, tmp_path: Path) -> None:
    for kind in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as opened:
            opened.addfile(member)
        with pytest.raises(InvalidCopy):
            load(tmp_path / "archive", io.BytesIO(stream.getvalue()))
        assert files_in(tmp_path) == {}


def test_a_link_is_not_a_file(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.parquet")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as opened:
        opened.addfile(member)
    with pytest.raises(InvalidCopy, match=r"a\.parquet"):
        load(tmp_path / "archive", io.BytesIO(stream.getvalue()))
