"""A log: a tree whose tiles and signed checkpoints are stored, and that only grows.

Several services may use this: the leaves of one log are actions of people, those of another are
hashes of files. The entries themselves are stored by the service.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from auditflow.errors import AuditFlowError
from auditflow.merkle import tiles
from auditflow.merkle.checkpoint import Checkpoint, open_checkpoint
from auditflow.merkle.note import NoteError, Signer
from auditflow.merkle.tiles import TileId
from auditflow.merkle.tree import ProofError, leaf_hash


class LogCorrupted(AuditFlowError):
    """The stored log contradicts a signed checkpoint. The text states the contradiction."""


class Store(Protocol):
    """Stores the tiles and the checkpoints of one log."""

    def tile(self, tile: TileId) -> bytes:
        """The stored hashes of a tile; empty if there are none."""

    def newest_note(self) -> str | None:
        """The newest signed checkpoint."""

    def save(self, changed: Mapping[TileId, bytes], checkpoint: Checkpoint, note: str) -> None:
        """Store tiles and a checkpoint together, or nothing."""


class Log:
    """Appends to a log and signs its checkpoints. Only one process may append at a time."""

    def __init__(self, store: Store, signer: Signer, *, origin: str) -> None:
        self._store = store
        self._signer = signer
        self._origin = origin

    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint, after a check of its signature and of the stored tiles.

        Raises:
            LogCorrupted: the signature is invalid, or the tiles have another root.
        """
        note = self._store.newest_note()
        if note is None:
            return None
        try:
            checkpoint = open_checkpoint(note, self._signer.verifier, origin=self._origin)
            root = tiles.root(checkpoint.size, self._store.tile)
        except (NoteError, ProofError) as error:
            raise LogCorrupted(f"the newest checkpoint of {self._origin}: {error}") from None
        if root != checkpoint.root:
            raise LogCorrupted(
                f"the stored hashes of {self._origin} do not have the root of the checkpoint of"
                f" size {checkpoint.size}"
            )
        return checkpoint

    def append(self, entries: Sequence[bytes]) -> Checkpoint | None:
        """Append entries and sign the new checkpoint. Without entries nothing changes.

        Raises:
            LogCorrupted: the stored log contradicts its newest checkpoint. Nothing is signed.
        """
        checkpoint = self.checkpoint()
        if not entries:
            return checkpoint
        size = checkpoint.size if checkpoint else 0
        changed = tiles.append(size, map(leaf_hash, entries), self._store.tile)

        def read(tile: TileId) -> bytes:
            return changed[tile] if tile in changed else self._store.tile(tile)

        size += len(entries)
        new = Checkpoint(self._origin, size, tiles.root(size, read))
        self._store.save(changed, new, new.sign(self._signer))
        return new
