"""The storage of the archive's files: a folder, or a bucket of an S3 service.

Paths are relative, with "/" as the separator. A file is never changed: it is stored completely, or
not at all.
"""

import datetime as dt
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Protocol, cast

import duckdb
import obstore
from fsspec import AbstractFileSystem
from msgspec import Struct
from obstore.exceptions import BaseError
from obstore.store import S3Store

from audit_analysis.archive.settings import StorageSettings
from auditflow.errors import Unavailable

_CHUNK_BYTES: Final = 1024 * 1024
#: The scheme of the addresses that DuckDB opens through ``S3Storage.register``.
_SCHEME: Final = "archive"
#: Part of the text of all errors of a storage that does not answer.
OUTAGE: Final = "storage is unavailable"
#: The folder of unfinished files, inside the folder of the archive.
UNFINISHED: Final = ".unfinished"


class StoredFile(Struct, frozen=True):
    """A stored file: its path, its size in bytes, and the time of its last change."""

    path: str
    size: int
    modified: dt.datetime


class Storage(Protocol):
    """The files of one tier. All methods raise Unavailable if the storage does not answer."""

    #: The name of the tier: "volume" or "s3".
    tier: str

    def store(self, source: Path, path: str) -> None:
        """Move a local file into the storage. It is durable when the method returns."""

    def address(self, path: str) -> str:
        """The address of a file for ``read_parquet``."""

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Allow a DuckDB connection to read the addresses."""

    def sha256(self, path: str) -> bytes | None:
        """The hash of a file; None if there is no such file."""

    def files(self) -> Iterator[StoredFile]:
        """All complete files."""

    def delete(self, path: str) -> None:
        """Delete a file. It may be missing."""

    def free_bytes(self) -> int | None:
        """The free space; None if the storage has no limit."""


def open_storage(settings: StorageSettings) -> Storage:
    """The storage that the settings select."""
    if settings.archive_bucket:
        return S3Storage(settings)
    return FolderStorage(settings.archive_folder)


class FolderStorage:
    """A folder, for example a volume in a cluster."""

    tier = "volume"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store(self, source: Path, path: str) -> None:
        target = self._path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            try:
                source.replace(target)
            except OSError:  # another file system
                copy = target.with_name(f".{target.name}")
                shutil.copyfile(source, copy)
                _sync(copy)
                copy.replace(target)
                source.unlink()
            _sync(target.parent)
        except OSError as error:
            raise _unavailable(error) from error

    def address(self, path: str) -> str:
        return str(self._path(path))

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """DuckDB reads local files itself."""

    def sha256(self, path: str) -> bytes | None:
        try:
            with self._path(path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(error) from error

    def files(self) -> Iterator[StoredFile]:
        try:
            for file in self._folder.rglob("*.parquet"):
                relative = file.relative_to(self._folder)
                if any(part.startswith(".") for part in relative.parts):
                    continue
                try:
                    status = file.stat()
                except FileNotFoundError:  # deleted meanwhile
                    continue
                modified = dt.datetime.fromtimestamp(status.st_mtime, tz=dt.UTC)
                yield StoredFile(relative.as_posix(), status.st_size, modified)
        except OSError as error:
            raise _unavailable(error) from error

    def delete(self, path: str) -> None:
        try:
            self._path(path).unlink(missing_ok=True)
        except OSError as error:
            raise _unavailable(error) from error

    def free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError as error:
            raise _unavailable(error) from error

    def _path(self, path: str) -> Path:
        relative = PurePosixPath(path)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"not a path inside the archive: {path!r}")
        return self._folder / relative


class S3Storage:
    """A bucket of Amazon S3 or of a compatible server."""

    tier = "s3"

    def __init__(self, settings: StorageSettings) -> None:
        options: dict[str, Any] = {
            "region": settings.archive_s3_region,
            "virtual_hosted_style_request": False,
            "client_options": {"timeout": "30s", "connect_timeout": "5s"},
        }
        if settings.archive_s3_endpoint:
            options["endpoint"] = settings.archive_s3_endpoint
            options["client_options"]["allow_http"] = settings.archive_s3_endpoint.startswith(
                "http://"
            )
        if settings.archive_s3_access_key_id and settings.archive_s3_secret_access_key:
            options["access_key_id"] = settings.archive_s3_access_key_id
            options["secret_access_key"] = settings.archive_s3_secret_access_key.get_secret_value()
        self._store = S3Store(
            settings.archive_bucket,
            prefix=settings.archive_prefix or None,
            retry_config={"max_retries": 2, "retry_timeout": dt.timedelta(seconds=20)},
            **options,
        )

    def store(self, source: Path, path: str) -> None:
        try:
            obstore.put(self._store, path, source)
            source.unlink()
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def address(self, path: str) -> str:
        return f"{_SCHEME}://{path}"

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.register_filesystem(_ReadOnlyFiles(self._store))

    def sha256(self, path: str) -> bytes | None:
        digest = hashlib.sha256()
        try:
            for chunk in obstore.get(self._store, path).stream(min_chunk_size=_CHUNK_BYTES):
                digest.update(chunk)
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error
        return digest.digest()

    def files(self) -> Iterator[StoredFile]:
        try:
            for batch in obstore.list(self._store):
                for item in batch:
                    if item["path"].endswith(".parquet"):
                        yield StoredFile(item["path"], item["size"], item["last_modified"])
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def delete(self, path: str) -> None:
        try:
            obstore.delete(self._store, path)
        except FileNotFoundError:
            pass
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def free_bytes(self) -> int | None:
        return None

    def reader(self, path: str) -> "SharedReader":
        """Opens a file for reading. Raises OSError."""
        return SharedReader(self._store, path)


class _ReadOnlyFiles(AbstractFileSystem):  # type: ignore[misc]
    """The file system through which DuckDB reads Parquet files from an object store."""

    protocol = _SCHEME
    cachable = False

    def __init__(self, store: S3Store) -> None:
        super().__init__()
        self._store = store

    def open(self, path: str, mode: str = "rb", **_: Any) -> IO[bytes]:
        if mode != "rb":
            raise PermissionError(f"the archive is read-only, not opened with {mode!r}")
        return cast(IO[bytes], SharedReader(self._store, _key(path)))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        found = obstore.head(self._store, _key(path))
        return {"name": path, "size": found["size"], "type": "file"}

    def modified(self, path: str) -> dt.datetime:
        return obstore.head(self._store, _key(path))["last_modified"]

    def exists(self, path: str, **_: Any) -> bool:
        try:
            obstore.head(self._store, _key(path))
        except FileNotFoundError:
            return False
        return True

    def glob(self, path: str, **_: Any) -> list[str]:
        return [path]  # the manifest lists the files


class SharedReader(io.IOBase):
    """An object of an S3 that several threads read. Each thread has a position of its own.

    DuckDB calls ``seek`` and ``read`` of one handle in several threads. A shared position would
    give a thread the bytes of another thread.
    """

    def __init__(self, store: S3Store, key: str) -> None:
        self._store = store
        self._key = key
        with _io_errors():
            self._size: int = obstore.head(store, key)["size"]
        self._thread = _Position()

    def seekable(self) -> bool:
        """True: the position can be moved."""
        return True

    def seek(self, offset: int, origin: int = os.SEEK_SET) -> int:
        """Move the position of this thread: ``offset`` bytes from ``origin`` (``os.SEEK_...``)."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._thread.offset, os.SEEK_END: self._size}[origin]
        self._thread.offset = max(0, base + offset)
        return self._thread.offset

    def read(self, size: int = -1) -> bytes:
        """The next bytes: ``size``, or fewer at the end of the object. -1: all."""
        thread = self._thread
        start = thread.offset
        end = self._size if size < 0 else min(self._size, start + size)
        if start >= end:
            return b""
        if not thread.start <= start <= end <= thread.start + len(thread.content):
            thread.start = start
            until = min(self._size, max(end, start + _CHUNK_BYTES))
            with _io_errors():
                found = obstore.get_range(self._store, self._key, start=start, end=until)
            thread.content = bytes(found)
        thread.offset = end
        return thread.content[start - thread.start : end - thread.start]


class _Position(threading.local):
    """The position of a thread, and the bytes that it read last."""

    def __init__(self) -> None:
        self.offset = 0
        self.start = 0
        self.content = b""


@contextmanager
def _io_errors() -> Iterator[None]:
    """Raise OSError if the object store fails, because DuckDB reports it as an error of I/O."""
    try:
        yield
    except BaseError as error:
        raise OSError(str(_unavailable(error))) from error


def _key(address: str) -> str:
    return address.removeprefix(f"{_SCHEME}://")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(error: Exception) -> Unavailable:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return Unavailable("storage", reason[:300])
