"""Proofs that an event is archived, and the hashes of archived files."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from audit_analysis.archive import file_log
from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.event_leaves import LEAF_HASH, leaf_of
from audit_analysis.archive.table import COLUMNS, ArchivedEvent
from audit_analysis.events_api.database import Cancellation, SearchDatabase
from audit_analysis.events_api.sql import Parameters
from auditflow.contract.audit import ArchivedEventProof, ArchivedFileHash, ArchivedFileHashes
from auditflow.errors import AuditFlowError
from auditflow.merkle.tree import inclusion_proof, leaf_hash

#: A page of hashes ends when this many bytes were read, or has this many files.
_PAGE_BYTES: Final = 64 * 1024 * 1024
_PAGE_FILES: Final = 100


class NotProvable(AuditFlowError):
    """The event is archived, but has no proof. The text says why."""


class Files(Protocol):
    """The part of the manifest that proofs need. Raises Unavailable."""

    def paths(self) -> list[str]:
        """The paths of all files."""
        ...

    def entries(self, paths: Sequence[str]) -> list[ArchiveFile]:
        """The entries of files, also of those that were removed since."""
        ...

    def page(self, *, after: str, limit: int) -> list[ArchiveFile]:
        """Files by their paths."""
        ...

    def log_number(self, path: str) -> int | None:
        """The entry of the log of files with a file."""
        ...


class EventProofs:
    """Creates proofs. Any thread may use it.

    ``address`` gives the address of a file for DuckDB, and ``sha256`` the hash of its content or
    None. ``pending`` gives the events that are not in a file yet. ``select`` gives the paths of
    files that may have an event with an identifier.
    """

    def __init__(
        self,
        manifest: Files,
        database: SearchDatabase,
        *,
        address: Callable[[str], str],
        sha256: Callable[[str], bytes | None],
        pending: Callable[[], Sequence[ArchivedEvent]] = lambda: (),
        select: Callable[[str, Iterable[str]], set[str]] = lambda _, paths: set(paths),
    ) -> None:
        self._manifest = manifest
        self._database = database
        self._address = address
        self._sha256 = sha256
        self._pending = pending
        self._select = select

    def proof(
        self, event_id: str, cancellation: Cancellation | None = None
    ) -> ArchivedEventProof | None:
        """The proof of an event; None if there is no such event.

        If several events have the identifier, the first that was accepted.

        Raises:
            NotProvable: the event is not in a file yet, or its file is older than the log; or its
                file was changed.
            Unavailable, SearchTimeout, SearchTooLarge, SearchCancelled, TooManySearches.
        """
        is_pending = any(event.event_id == event_id for event in self._pending())
        selected = sorted(self._select(event_id, self._manifest.paths()))
        files = {self._address(file.path): file for file in self._manifest.entries(selected)}

        def read(addresses: Sequence[str]) -> tuple[str, Parameters]:
            if not addresses:
                return f"SELECT {', '.join(['NULL'] * (len(COLUMNS) + 2))} WHERE false", {}
            columns = ", ".join(f'"{name}"' for name in COLUMNS)
            return (
                f"SELECT {columns}, filename, file_row_number"
                " FROM read_parquet($files, filename = true, file_row_number = true)"
                " WHERE event_id = $event_id ORDER BY refused, received_ms LIMIT 1",
                {"files": list(addresses), "event_id": event_id},
            )

        with self._database.search(cancellation=cancellation) as search:
            found = search.rows_of_readable(list(files), read) if files else []
            if not found:
                if is_pending:
                    raise NotProvable("The event is not in a file yet. Try again in a minute.")
                return None
            *values, address, position = min(found, key=_first_accepted)
            event, file = ArchivedEvent(*values), files[address]
            number = self._manifest.log_number(file.path)
            if file.events_root is None or number is None:
                raise NotProvable("The file of the event is older than the log of files.")
            leaves = search.rows(
                f"SELECT {LEAF_HASH} FROM read_parquet($file, file_row_number = true)"
                " ORDER BY file_row_number",
                {"file": address},
            )
        hashes = [bytes.fromhex(leaf) for (leaf,) in leaves]
        if hashes[position] != leaf_hash(leaf_of(event)):
            raise NotProvable("The event has values that its leaf cannot contain.")
        return ArchivedEventProof(
            event_id=event.event_id,
            received_ms=event.received_ms,
            occurred_ms=event.occurred_ms,
            refused=event.refused,
            record=event.record,
            file=file_log.logged(file),
            position=position,
            proof=tuple(inclusion_proof(hashes, position)),
            log_number=number,
        )

    def hashes(self, after: str) -> ArchivedFileHashes:
        """A page of the files of the archive after a path, with the hashes of their content now.

        Raises Unavailable.
        """
        found: list[ArchivedFileHash] = []
        size = 0
        files = self._manifest.page(after=after, limit=_PAGE_FILES)
        for file in files:
            digest = self._sha256(file.path)
            found.append(
                ArchivedFileHash(path=file.path, sha256=None if digest is None else digest.hex())
            )
            size += file.size
            if size >= _PAGE_BYTES:
                break
        is_last = len(found) == len(files) < _PAGE_FILES
        return ArchivedFileHashes(
            files=tuple(found), next_after=None if is_last else found[-1].path
        )


def _first_accepted(row: tuple[Any, ...]) -> tuple[bool, int]:
    """The order of events with the same identifier."""
    event = ArchivedEvent(*row[: len(COLUMNS)])
    return event.refused, event.received_ms
