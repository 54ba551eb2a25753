"""DuckDB for searches: limits on memory, threads, time and the number of searches."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import duckdb
from arro3.core import Array, DataType, Table
from msgspec import Struct

from audit_analysis.archive.table import STORED_COLUMNS, ArchivedEvent, columns_of
from audit_analysis.events_api.sql import Parameters
from auditflow.errors import AuditFlowError, Unavailable
from auditflow.telemetry import logs

#: The name of the table of events that are not in a file yet.
PENDING: Final = "pending"
#: Maximum time that a search waits until an earlier one ends (seconds).
_QUEUE_SECONDS: Final = 10.0
_ARROW: Final = {
    "VARCHAR": DataType.utf8(), "BIGINT": DataType.int64(), "INTEGER": DataType.int32(),
    "BOOLEAN": DataType.bool(), "BLOB": DataType.binary(),
}  # fmt: skip

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
        timer = threading.Timer(remaining, self._cursor.interrupt)
        timer.daemon = True
        try:
            with self._cancellation.interrupting(self._cursor.interrupt):
                timer.start()
                yield
        except duckdb.InterruptException:
            if self._cancellation.is_cancelled:
                raise SearchCancelled("cancelled") from None
            raise SearchTimeout(f"no result within {self._seconds:g} s") from None
        except duckdb.OutOfMemoryException:
            raise SearchTooLarge("the search needs more memory than its limit") from None
        except (duckdb.IOException, duckdb.HTTPException) as error:
            raise Unavailable("storage", str(error).partition("\n")[0][:300]) from error
        except duckdb.Error as error:
            # The base class: an object store failed, or a file is damaged.
            if type(error) is not duckdb.Error:
                raise
            raise Unavailable("storage", str(error).strip()[:1000]) from error
        finally:
            timer.cancel()


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
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{limits.memory_mebibytes}MiB",
                "threads": limits.threads,
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
                "temp_directory": str(spill) if spill else "",
                "preserve_insertion_order": "false",
            },
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


def arrow_table(events: Sequence[ArchivedEvent]) -> Table:
    """Events as an Arrow table, which DuckDB reads without a copy."""
    values = columns_of(events) if events else [()] * len(STORED_COLUMNS)
    return Table.from_pydict(
        {
            name: Array(list(column), _ARROW[kind])
            for (name, kind), column in zip(STORED_COLUMNS.items(), values, strict=True)
        }
    )
