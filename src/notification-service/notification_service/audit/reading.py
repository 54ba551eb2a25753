"""Reading audit logs: checkpoints, tiles, entries and proofs."""

from typing import Final
from uuid import UUID

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.contract.audit import (
    AuditLogSummary,
    ConsistencyProof,
    FindingDocument,
    FindingDocuments,
    InclusionProof,
)
from auditflow.merkle import tiles
from auditflow.merkle.checkpoint import Checkpoint, open_checkpoint
from auditflow.merkle.note import NoteError, Signer
from auditflow.merkle.postgres import PostgresStore
from auditflow.merkle.tiles import TileId, TilePath
from auditflow.merkle.tree import ProofError, leaf_hash
from notification_service.audit.logs import LOGS, AuditLog
from notification_service.database import rows
from notification_service.database.pool import Pool

#: Findings on a page of documents.
DOCUMENTS: Final = 200
_DOCUMENTS: Final = (
    rows.select("findings", rows.FINDING_COLUMNS)
    + " WHERE t.finding_id > %(after)s ORDER BY t.finding_id LIMIT %(limit)s"
)


class AuditLogReader:
    """Reads the logs. It never shows entries that no checkpoint covers."""

    def __init__(self, pool: Pool, signer: Signer) -> None:
        self._pool = pool
        self._signer = signer

    def summaries(self) -> tuple[AuditLogSummary, ...]:
        """All logs."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            return tuple(
                AuditLogSummary(
                    name=audited.name,
                    origin=audited.origin(self._signer),
                    size=checkpoint.size if (checkpoint := self._newest(cursor, audited)) else 0,
                    public_key=str(self._signer.verifier),
                )
                for audited in LOGS.values()
            )

    def checkpoint(self, audited: AuditLog) -> str | None:
        """The newest signed checkpoint."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            return PostgresStore(cursor, audited.name).newest_note()

    def tile(self, audited: AuditLog, path: TilePath) -> bytes | None:
        """A tile or a bundle of entries, or None if the log has fewer entries."""
        tile = TileId(path.level or 0, path.number)
        with self._pool.connection() as connection, connection.cursor() as cursor:
            checkpoint = self._newest(cursor, audited)
            if checkpoint is None or tiles.width_in(checkpoint.size, tile) < path.width:
                return None
            if path.level is None:
                first = path.number * tiles.WIDTH + 1
                return tiles.bundle(_entries(cursor, audited, first, path.width))
            hashes = PostgresStore(cursor, audited.name).tile(tile)
        return hashes[: path.width * tiles.HASH_BYTES]

    def inclusion(self, audited: AuditLog, number: int, size: int | None) -> InclusionProof | None:
        """The entry with this number and its proof, or None if the tree does not contain it.

        ``number`` counts from 1. ``size`` is the number of entries of the tree; None for the tree
        of the last checkpoint.
        """
        with self._pool.connection() as connection, connection.cursor() as cursor:
            size = self._size(cursor, audited, size)
            entries = _entries(cursor, audited, number, 1) if 0 < number <= size else []
            if not entries:
                return None
            read = PostgresStore(cursor, audited.name).tile
            try:
                proof = tiles.inclusion_proof(number - 1, size, read)
            except ProofError:
                return None
        return InclusionProof(
            number=number,
            size=size,
            entry=entries[0].decode(),
            leaf_hash=leaf_hash(entries[0]),
            proof=tuple(proof),
        )

    def consistency(
        self, audited: AuditLog, old_size: int, size: int | None
    ) -> ConsistencyProof | None:
        """The proof that the tree of the first ``old_size`` entries is a prefix of a tree.

        ``size`` is the number of entries of that tree, see ``inclusion``. None if it has fewer than
        ``old_size`` entries.
        """
        with self._pool.connection() as connection, connection.cursor() as cursor:
            size = self._size(cursor, audited, size)
            if not 0 < old_size <= size:
                return None
            read = PostgresStore(cursor, audited.name).tile
            try:
                proof = tiles.consistency_proof(old_size, size, read)
            except ProofError:
                return None
        return ConsistencyProof(old_size=old_size, size=size, proof=tuple(proof))

    def documents(self, after: UUID | None) -> FindingDocuments:
        """A page of all stored findings, after an identifier."""
        values = {"after": str(after or UUID(int=0)), "limit": DOCUMENTS}
        with self._pool.cursor() as cursor:
            cursor.execute(_DOCUMENTS, values)
            found = [rows.read_row(text) for (text,) in cursor.fetchall()]
        return FindingDocuments(
            documents=tuple(
                FindingDocument(
                    finding_id=row.finding_id,
                    document=rows.document_of(rows.encode_finding(row)).decode(),
                )
                for row in found
            ),
            next_after=found[-1].finding_id if len(found) == DOCUMENTS else None,
        )

    def _newest(self, cursor: Cursor, audited: AuditLog) -> Checkpoint | None:
        note = PostgresStore(cursor, audited.name).newest_note()
        try:
            return note and open_checkpoint(  # type: ignore[return-value]
                note, self._signer.verifier, origin=audited.origin(self._signer)
            )
        except NoteError:
            return None  # another key signed it, or it was changed: the verifier reports this

    def _size(self, cursor: Cursor, audited: AuditLog, size: int | None) -> int:
        """The requested size, but 0 if the log is smaller. None means the newest size."""
        checkpoint = self._newest(cursor, audited)
        newest = checkpoint.size if checkpoint else 0
        if size is None:
            return newest
        return size if size <= newest else 0


def _entries(cursor: Cursor, audited: AuditLog, first: int, count: int) -> list[bytes]:
    values = {"first": first, "last": first + count - 1}
    cursor.execute(audited.read_entries, values)
    return [entry.encode() for _, entry in cursor.fetchall()]
