"""The storage of the archive's files: a folder, and a bucket of a real S3 API (moto)."""

import datetime as dt
import hashlib
import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import duckdb
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr
from src.tests.archived_events import FolderArchive, archived, write

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.decoding import refused_row
from audit_analysis.archive.id_index import IdIndex
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.settings import StorageSettings
from audit_analysis.archive.storage import FolderStorage, S3Storage, Storage, open_storage
from audit_analysis.events_api.archive_search import ArchiveSearch, SearchedFile
from audit_analysis.events_api.database import DamagedFile, SearchDatabase, SearchLimits
from audit_analysis.events_api.query import EventFilter, EventQuery
from auditflow.errors import Unavailable

END_MS = 2**45
UNREADABLE = {"missing", "empty", "random", "half", "large footer"}


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(StorageSettings(archive_folder=tmp_path / "archive"))
    endpoint = request.getfixturevalue("s3_endpoint")
    bucket = f"events-{tmp_path.name.lower().replace('_', '-')}"[:60].rstrip("-")
    boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
    ).create_bucket(Bucket=bucket)
    return open_storage(
        StorageSettings(
            archive_folder=tmp_path,
            archive_bucket=bucket,
            archive_prefix="audit",
            archive_s3_endpoint=endpoint,
            archive_s3_access_key_id="a",
            archive_s3_secret_access_key=SecretStr("b"),
        )
    )


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[[int], Path]:
    def make(rows: int) -> Path:
        path = tmp_path / f"{rows}.tmp"
        duckdb.sql(f"COPY (FROM range({rows}) AS t(number)) TO '{path}' (FORMAT parquet)")
        return path

    return make


def test_a_stored_file_is_listed_hashed_read_and_deleted(
    storage: Storage, parquet: Callable[[int], Path]
) -> None:
    source = parquet(1000)
    content = source.read_bytes()
    storage.store(source, "2026/11/30/12/linux-1.parquet")
    assert not source.exists()
    (file,) = storage.files()
    assert (file.path, file.size) == ("2026/11/30/12/linux-1.parquet", len(content))
    assert storage.sha256(file.path) == hashlib.sha256(content).digest()
    with duckdb.connect() as connection:
        storage.register(connection)
        query = "SELECT sum(number) FROM read_parquet(?) WHERE number < 10"
        assert connection.execute(query, [[storage.address(file.path)]]).fetchall() == [(45,)]
    storage.delete(file.path)
    storage.delete(file.path)
    assert list(storage.files()) == []
    assert storage.sha256(file.path) is None


def test_unfinished_files_are_not_listed(tmp_path: Path, parquet: Callable[[int], Path]) -> None:
    folder = FolderStorage(tmp_path / "archive")
    folder.store(parquet(1), "linux.parquet")
    (tmp_path / "archive" / ".unfinished").mkdir()
    (tmp_path / "archive" / ".unfinished" / "other.parquet").touch()
    (tmp_path / "archive" / ".linux-2.parquet").touch()
    assert [file.path for file in folder.files()] == ["linux.parquet"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.parquet", "a/../../b.parquet"])
def test_paths_outside_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside the archive"):
        FolderStorage(tmp_path).delete(path)


def test_a_folder_that_cannot_be_written_is_unavailable(
    tmp_path: Path, parquet: Callable[[int], Path]
) -> None:
    (tmp_path / "archive").write_text("a file, not a folder")
    source = parquet(1)
    with pytest.raises(Unavailable, match="storage is unavailable"):
        FolderStorage(tmp_path / "archive").store(source, "a/b.parquet")
    assert source.exists()


def test_an_s3_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    storage = open_storage(
        StorageSettings(
            archive_folder=tmp_path,
            archive_bucket="events",
            archive_s3_endpoint="http://127.0.0.1:9",
            archive_s3_access_key_id="a",
            archive_s3_secret_access_key=SecretStr("b"),
        )
    )
    with pytest.raises(Unavailable, match="storage is unavailable"):
        list(storage.files())


def test_a_merge_removes_duplicates_but_hides_no_event(tmp_path: Path) -> None:
    rows = [
        refused_row(b"same", "reason", received_ms=received, correlation_id=None)
        for received in (30, 10, 20)
    ]
    other = rows[0]._replace(record=b"another record with the same identifier")
    accepted = rows[0]._replace(refused=False, reason=None)
    writer = ParquetWriter(tmp_path / "unfinished", memory_mebibytes=64, threads=1)
    first, second = writer.write(rows), writer.write([*rows, other, accepted])
    merged = writer.merge([str(first.local), str(second.local)])
    found = duckdb.execute(
        "SELECT received_ms, record, refused FROM read_parquet(?) ORDER BY ALL",
        [str(merged.local)],
    ).fetchall()
    writer.close()
    assert found == [
        (10, b"same", True),
        (30, b"another record with the same identifier", True),
        (30, b"same", False),
    ]


@pytest.mark.parametrize("storage", ["s3"], indirect=True)
def test_several_threads_read_one_file(storage: Storage, tmp_path: Path) -> None:
    # Given a file with many row groups, each larger than a read
    source = tmp_path / "large.tmp"
    rows = 200_000
    duckdb.execute(
        "COPY (SELECT range AS number, md5(range::VARCHAR) AS text FROM range(?))"
        f" TO '{source}' (FORMAT parquet, ROW_GROUP_SIZE 10000)",
        [rows],
    )
    storage.store(source, "a/large.parquet")
    for _ in range(5):
        # when several threads read it, then each has the bytes that it asked for
        with duckdb.connect(config={"threads": 4}) as connection:
            storage.register(connection)
            found = connection.execute(
                "SELECT count(*), sum(number), count(DISTINCT text) FROM read_parquet(?)",
                [[storage.address("a/large.parquet")]],
            ).fetchone()
        assert found == (rows, rows * (rows - 1) // 2, rows)


@pytest.mark.parametrize("storage", ["s3"], indirect=True)
def test_the_reader_of_an_object_behaves_as_a_file(storage: Storage, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(3_000_000)
    (tmp_path / "bytes.tmp").write_bytes(content)
    storage.store(tmp_path / "bytes.tmp", "a/b.parquet")
    assert isinstance(storage, S3Storage)
    reader, file, rng = storage.reader("a/b.parquet"), io.BytesIO(content), random.Random(2)
    for _ in range(60):
        origin = rng.choice((os.SEEK_SET, os.SEEK_CUR, os.SEEK_END))
        offset = rng.randrange(3_100_000) * (-1 if origin == os.SEEK_END else 1)
        offset = max(offset, -len(content))
        size = rng.choice((-1, 0, 8, 1000, 2_000_000))
        assert reader.seek(offset, origin) == file.seek(offset, origin)
        assert reader.read(size) == file.read(size)
        assert reader.tell() == file.tell()


def test_an_s3_that_fails_during_a_search_is_unavailable(tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id="a",
        aws_secret_access_key="b", region_name="us-east-1",
    ).create_bucket(Bucket="events")  # fmt: skip
    storage = open_storage(
        StorageSettings(
            archive_folder=tmp_path, archive_bucket="events",
            archive_s3_endpoint=f"http://{host}:{port}", archive_s3_access_key_id="a",
            archive_s3_secret_access_key=SecretStr("b"),
        )
    )  # fmt: skip
    (tmp_path / "bytes.tmp").write_bytes(b"PAR1")
    storage.store(tmp_path / "bytes.tmp", "a/b.parquet")
    assert isinstance(storage, S3Storage)
    reader = storage.reader("a/b.parquet")
    server.stop()
    # A reader raises what DuckDB and searches understand.
    with pytest.raises(OSError, match="storage"):
        reader.read()
    database = SearchDatabase(
        SearchLimits(seconds=60), addresses=[storage.address("")], register=storage.register
    )
    with database.search() as search, pytest.raises(Unavailable):
        search.rows("SELECT * FROM read_parquet($file)", {"file": storage.address("a/b.parquet")})


def damaged_contents(content: bytes, folder: Path) -> Iterator[tuple[str, bytes | None]]:
    """What an attacker with access to the storage could store in place of a file."""
    rng = random.Random(5)
    yield "missing", None
    yield "empty", b""
    yield "random", rng.randbytes(5000)
    yield "half", content[: len(content) // 2]
    yield "large footer", content[:-8] + b"\xff\xff\xff\x7fPAR1"
    for number in range(10):
        changed = bytearray(content)
        footer = int.from_bytes(content[-8:-4], "little")
        for _ in range(20):
            changed[-9 - rng.randrange(footer)] ^= 1 << rng.randrange(8)
        yield f"footer {number}", bytes(changed)
    other = folder / "other-columns.tmp"
    for name, query in (
        ("other columns", "SELECT 1 AS x"),
        ("other types", f"SELECT * REPLACE ('x' AS occurred_ms) FROM '{folder}/good.parquet'"),
    ):
        duckdb.execute(f"COPY ({query}) TO '{other}' (FORMAT parquet)")
        yield name, other.read_bytes()


def put(storage: Storage, folder: Path, path: str, content: bytes | None) -> None:
    storage.delete(path)
    if content is not None:
        (folder / "new.tmp").write_bytes(content)
        storage.store(folder / "new.tmp", path)


def test_a_damaged_file_is_reported_and_hides_no_event_of_other_files(
    storage: Storage, tmp_path: Path
) -> None:
    # Given two files, and an index of identifiers that has neither
    write(tmp_path / "good.parquet", [archived(1), archived(2)])
    good = (tmp_path / "good.parquet").read_bytes()
    write(tmp_path / "bad.tmp", [archived(number) for number in range(3, 3000)])
    bad = (tmp_path / "bad.tmp").read_bytes()
    put(storage, tmp_path, "a/good.parquet", good)
    files = [
        SearchedFile(storage.address(path), 0, END_MS)
        for path in ("a/good.parquet", "a/bad.parquet")
    ]
    limits = SearchLimits(seconds=60)
    database = SearchDatabase(
        limits, folders=[tmp_path], addresses=[storage.address("")], register=storage.register
    )
    search = ArchiveSearch(FolderArchive(files), database)
    everything = EventQuery(filter=EventFilter(since_ms=0, until_ms=END_MS, text="no such text"))
    reported = set()
    for name, content in damaged_contents(bad, tmp_path):
        put(storage, tmp_path, "a/bad.parquet", content)
        # when a search needs the damaged file, then it fails, or reads what can be read
        try:
            assert not search.page(everything).events
        except DamagedFile:
            reported.add(name)
        # and an event of another file is found by its identifier
        found = search.event("e00001")
        assert found == archived(1), name
        # and the absence of an event is not claimed if no column can be read
        if name in UNREADABLE:
            with pytest.raises(DamagedFile):
                search.event("e99999")
    assert reported >= {*UNREADABLE, "other columns", "other types"}
    # when the file is restored, then the search works without a restart
    put(storage, tmp_path, "a/bad.parquet", bad)
    assert search.event("e02999") == archived(2999)
    database.close()


def test_a_damaged_file_does_not_exclude_other_hours_from_the_index(tmp_path: Path) -> None:
    # Given a damaged file in an old hour, and a file in a later hour
    write(tmp_path / "good.parquet", [archived(1)])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    hour = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    entries = [
        ArchiveFile(
            path, "volume", hour + dt.timedelta(hours=number), "okta", 1, 1, 1, 1, 1, 1, bytes(32)
        )
        for number, path in enumerate(("bad.parquet", "good.parquet"))
    ]
    index = IdIndex(tmp_path / "index")
    writer = ParquetWriter(tmp_path / "unfinished", memory_mebibytes=64, threads=1)
    # when the index is updated, then it reports the damaged file, and has the other one
    with pytest.raises(Unavailable):
        index.update(
            entries, lambda path: str(tmp_path / path), writer.sorted_ids,
            now=hour + dt.timedelta(days=1),
        )  # fmt: skip
    writer.close()
    assert index.select("e99999", [entry.path for entry in entries]) == {"bad.parquet"}
