"""Storage of logs in PostgreSQL, through the cursor of any driver of the DB-API.

The migrations of the service that owns the log create the tables ``merkle_tiles`` and
``merkle_checkpoints``. Each log has a name. The caller commits.
"""

from collections.abc import Mapping
from typing import Any, Final

from auditflow.merkle.checkpoint import Checkpoint
from auditflow.merkle.tiles import TileId

#: The first key of the advisory locks of logs. The second is the hash of the log's name.
LOCK: Final = 4714

_TRY_LOCK: Final = f"SELECT pg_try_advisory_xact_lock({LOCK}, hashtext(%s))"
_TILE: Final = "SELECT hashes FROM merkle_tiles WHERE log = %s AND level = %s AND tile = %s"
_NEWEST: Final = "SELECT note FROM merkle_checkpoints WHERE log = %s ORDER BY size DESC LIMIT 1"
_SAVE_TILE: Final = """
    INSERT INTO merkle_tiles (log, level, tile, hashes) VALUES (%s, %s, %s, %s)
    ON CONFLICT (log, level, tile) DO UPDATE SET hashes = excluded.hashes
"""
_SAVE_CHECKPOINT: Final = """
    INSERT INTO merkle_checkpoints (log, size, root, note) VALUES (%s, %s, %s, %s)
"""


class PostgresStore:
    """A store of one log, in the transaction of a cursor."""

    def __init__(self, cursor: Any, log: str) -> None:
        self._cursor = cursor
        self._log = log

    def try_lock(self) -> bool:
        """Lock the log until the end of the transaction. False: another process has the lock."""
        self._cursor.execute(_TRY_LOCK, (self._log,))
        return bool(self._cursor.fetchone()[0])

    def tile(self, tile: TileId) -> bytes:
        self._cursor.execute(_TILE, (self._log, *tile))
        row = self._cursor.fetchone()
        return bytes(row[0]) if row else b""

    def newest_note(self) -> str | None:
        self._cursor.execute(_NEWEST, (self._log,))
        row = self._cursor.fetchone()
        return str(row[0]) if row else None

    def save(self, changed: Mapping[TileId, bytes], checkpoint: Checkpoint, note: str) -> None:
        for tile, hashes in changed.items():
            self._cursor.execute(_SAVE_TILE, (self._log, *tile, hashes))
        values = (self._log, checkpoint.size, checkpoint.root, note)
        self._cursor.execute(_SAVE_CHECKPOINT, values)
