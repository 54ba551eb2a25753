"""DuckDB for searches: limits on memory, threads, time and the number of searches."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

import duckdb
from arro3.core import Array, DataType, Table
from msgspec import Struct

from audit_analysis.archive.storage import OUTAGE
from audit_analysis.archive.table import STORED_COLUMNS, ArchivedEvent, columns_of
from audit_analysis.events_api.sql import Parameters
from auditflow.errors import AuditFlowError, Unavailable
from auditflow.telemetry import logs
from auditflow.worker import lower_priority

#: The name of the table of events that are not in a file yet.
PENDING: Final = "pending"
#: The niceness of threads of searches. It is higher than that of the writer's threads, so that the
#: writer gets three times as much CPU time as a search, if both need it.
NICENESS: Final = 10
#: Maximum time that a search waits until an earlier one ends (seconds).
_QUEUE_SECONDS: Final = 10.0
#: Time between two interruptions of a search after its deadline (seconds).
_INTERRUPT_SECONDS: Final = 0.1
_ARROW: Final = {
    "VARCHAR": DataType.utf8(), "BIGINT": DataType.int64(), "INTEGER": DataType.int32(),
    "BOOLEAN": DataType.bool(), "BLOB": DataType.binary(),
}  # fmt: skip

#: The errors of DuckDB for files that are damaged or missing, or have other columns. They do not
#: depend on values of a caller, which are parameters. The base class is that of errors of Thrift
#: and of file systems.
_DAMAGED: Final = (
    duckdb.IOException, duckdb.HTTPException, duckdb.InvalidInputException,
    duckdb.ConversionException, duckdb.SerializationException, duckdb.BinderException,
)  # fmt: skip

log = logs.get(__name__)


class SearchLimits(Struct, frozen=True, kw_only=True):
    """The limits of searches. ``running`` searches run at once, and ``waiting`` ones may wait."""

    memory_mebibytes: int = 256
    threads: int = 2
    seconds: float = 20.0
    running: int = 2
    waiting: int = 8


class TooManySearches(AuditFlowError):
    """The queue of searches is full, or a search waited too long in it."""


class SearchTimeout(AuditFlowError):
    """A search took longer than its deadline."""


class SearchTooLarge(AuditFlowError):
    """A search needs more memory than its limit."""


class DamagedFile(Unavailable):
    """A file of the archive is missing, or its content is not what the writer wrote."""

    def __init__(self, reason: str) -> None:
        AuditFlowError.__init__(self, f"a file of the archive is damaged or missing: {reason}")
        self.dependency = "storage"


class SearchCancelled(AuditFlowError):
    """A search was cancelled, because nobody waits for its result."""


class Cancellation:
    """Cancels a search from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupt: Callable[[], None] | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Cancel the search, now or as soon as it starts."""
        with self._lock:
            self.is_cancelled = True
            if self._interrupt is not None:
                self._interrupt()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Call ``interrupt`` if the search is cancelled during the block."""
        with self._lock:
            if self.is_cancelled:
                raise SearchCancelled("cancelled before it started")
            self._interrupt = interrupt
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None


class Search:
    """A search: statements that share a ``deadline`` (``time.monotonic``, in seconds)."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        *,
        deadline: float,
        cancellation: Cancellation,
        seconds: float,
    ) -> None:
        self._cursor = cursor
        self._deadline = deadline
        self._seconds = seconds
        self._cancellation = cancellation

    def rows(self, statement: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        """All rows of a statement.

        Raises:
            SearchTimeout, SearchTooLarge, SearchCancelled, Unavailable.
        """
        with self._limited():
            return self._cursor.execute(statement, parameters).fetchall()

    def rows_of_readable(
        self, files: Sequence[str], read: Callable[[Sequence[str]], tuple[str, Parameters]]
    ) -> list[tuple[Any, ...]]:
        """The rows of a statement on files. If one is damaged, those of the other files.

        ``read`` returns the statement and its parameters for addresses of files.

        Raises:
            DamagedFile: a file is damaged, and the other files have no rows.
            SearchTimeout, SearchTooLarge, SearchCancelled, Unavailable.
        """
        try:
            return self.rows(*read(files))
        except DamagedFile as error:
            log.warning("reading the other files", error=str(error))
            damaged = error
        rows: list[tuple[Any, ...]] = self.rows(*read([]))
        for file in files:
            with suppress(DamagedFile):
                rows += self.rows(*read([file]))
        if not rows:
            raise damaged
        return rows

    def stream(
        self, statement: str, parameters: Parameters, *, size: int
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a statement in parts of ``size`` rows. Raises as ``rows``."""
        with self._limited():
            self._cursor.execute(statement, parameters)
        while True:
            with self._limited():
                part = self._cursor.fetchmany(size)
            if not part:
                return
            yield part

    @contextmanager
    def _limited(self) -> Iterator[None]:
        remaining = self._deadline - monotonic()
        if remaining <= 0:
            raise SearchTimeout(f"no result within {self._seconds:g} s")
        try:
            with self._cancellation.interrupting(self._cursor.interrupt):
                yield
        except duckdb.InterruptException:
            if self._cancellation.is_cancelled:
                raise SearchCancelled("cancelled") from None
            raise SearchTimeout(f"no result within {self._seconds:g} s") from None
        except duckdb.OutOfMemoryException:
            raise SearchTooLarge("the search needs more memory than its limit") from None
        except duckdb.Error as error:
            raise _unavailable(error) from error


class SearchDatabase:
    """A DuckDB without data of its own. ``register`` prepares it for the archive's storage.

    It reads only files in ``folders`` and below ``addresses`` (URLs of a bucket). It loads no
    extensions, and statements cannot configure it. ``spill`` is the folder of temporary files.
    """

    def __init__(
        self,
        limits: SearchLimits,
        *,
        folders: Sequence[Path] = (),
        addresses: Sequence[str] = (),
        register: Callable[[duckdb.DuckDBPyConnection], None] = lambda connection: None,
        spill: Path | None = None,
    ) -> None:
        self.limits = limits
        self._connection = _connect(
            {
                "memory_limit": f"{limits.memory_mebibytes}MiB",
                "threads": limits.threads,
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
                "temp_directory": str(spill) if spill else "",
                "preserve_insertion_order": "false",
            }
        )
        register(self._connection)
        allowed = [f"{folder.resolve()}/" for folder in folders] + list(addresses)
        self._connection.execute("SET allowed_directories = $allowed", {"allowed": allowed})
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")
        self._slots = threading.BoundedSemaphore(limits.running)
        self._admitted = threading.BoundedSemaphore(limits.running + limits.waiting)

    @contextmanager
    def search(
        self,
        pending: Sequence[ArchivedEvent] = (),
        *,
        cancellation: Cancellation | None = None,
        seconds: float | None = None,
    ) -> Iterator[Search]:
        """Begin a search. ``pending`` are the events that are not in a file yet.

        Raises:
            TooManySearches: too many searches run and wait.
        """
        limit = self.limits.seconds if seconds is None else seconds
        if not self._admitted.acquire(blocking=False):
            raise TooManySearches("too many searches wait already")
        try:
            if not self._slots.acquire(timeout=min(limit, _QUEUE_SECONDS)):
                raise TooManySearches("other searches take too long")
            try:
                with self._connection.cursor() as cursor:
                    cursor.register(PENDING, arrow_table(pending))
                    with _interrupted_after(cursor, limit):
                        yield Search(
                            cursor,
                            deadline=monotonic() + limit,
                            cancellation=cancellation or Cancellation(),
                            seconds=limit,
                        )
            finally:
                self._slots.release()
        finally:
            self._admitted.release()

    def close(self) -> None:
        """Close the database. No search may run."""
        self._connection.close()


@contextmanager
def _interrupted_after(cursor: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt the statements that run ``seconds`` after the beginning of the block, or later.

    The thread is started at the beginning, because Python waits forever for a thread that has no
    memory to start.
    """
    ended = threading.Event()

    def interrupt() -> None:
        interval = seconds
        while not ended.wait(interval):
            cursor.interrupt()
            interval = _INTERRUPT_SECONDS

    thread = threading.Thread(target=interrupt, name="search-deadline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _connect(config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Open DuckDB on a thread with the niceness of searches, which DuckDB's threads inherit."""
    with ThreadPoolExecutor(1, initializer=lower_priority, initargs=(NICENESS,)) as thread:
        return thread.submit(duckdb.connect, ":memory:", config=config).result()


def _unavailable(error: duckdb.Error) -> Exception:
    """The error of a storage or of a file; ``error`` itself if a statement is wrong."""
    if OUTAGE in str(error):
        return Unavailable("storage", str(error).strip()[:1000])
    if type(error) is duckdb.Error or isinstance(error, _DAMAGED):
        return DamagedFile(str(error).strip()[:1000])
    return error


def arrow_table(events: Sequence[ArchivedEvent]) -> Table:
    """Events as an Arrow table, which DuckDB reads without a copy."""
    values = columns_of(events) if events else [()] * len(STORED_COLUMNS)
    return Table.from_pydict(
        {
            name: Array(list(column), _ARROW[kind])
            for (name, kind), column in zip(STORED_COLUMNS.items(), values, strict=True)
        }
    )
