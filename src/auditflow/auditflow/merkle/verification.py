"""Verification of a log by someone who does not trust the system that stores it.

All entries are read, and the root is computed from them. It must be the root of the newest
checkpoint, and the roots at the sizes of earlier checkpoints must be the roots of those.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from auditflow.errors import AuditFlowError
from auditflow.merkle import tiles
from auditflow.merkle.checkpoint import Checkpoint, open_checkpoint
from auditflow.merkle.note import NoteError, Verifier
from auditflow.merkle.tree import GrowingTree, ProofError, leaf_hash

#: Reads a file of the log by its path, for example ``checkpoint``. None if there is none.
Read = Callable[[str], bytes | None]

_CHECKPOINT: Final = "checkpoint"


class NotVerified(AuditFlowError):
    """The log is not what it was. The text states what is wrong."""


def verify(
    read: Read,
    verifiers: Sequence[Verifier],
    *,
    origin: str,
    earlier: Iterable[str] = (),
    on_entry: Callable[[bytes], None] = lambda _: None,
) -> tuple[Checkpoint, str]:
    """Verify a log completely. ``earlier`` are checkpoints that were stored elsewhere.

    Returns the newest checkpoint and its note. ``verifiers`` are the keys that are trusted; there
    are several after the key was replaced. ``on_entry`` gets each entry, before it is verified.

    Raises:
        NotVerified: the log was changed, or something is missing.
    """
    note = (read(_CHECKPOINT) or b"").decode(errors="replace")
    newest = _open(note, verifiers, origin, "the newest checkpoint")
    known = [_open(text, verifiers, origin, "an earlier checkpoint") for text in earlier]
    for checkpoint in known:
        if checkpoint.size > newest.size:
            raise NotVerified(
                f"the log has {newest.size} entries, but had {checkpoint.size} entries before:"
                " its end was removed"
            )
    expected: dict[int, list[Checkpoint]] = {}
    for checkpoint in (*known, newest):
        expected.setdefault(checkpoint.size, []).append(checkpoint)
    growing = GrowingTree()
    for entry in _entries(read, newest.size):
        growing.add(leaf_hash(entry))
        on_entry(entry)
        for checkpoint in expected.get(growing.size, ()):
            if checkpoint.root != growing.root():
                kind = "the newest" if checkpoint is newest else "an earlier"
                raise NotVerified(
                    f"the first {growing.size} entries do not have the root of {kind} checkpoint:"
                    " an entry was changed, removed, added or moved"
                )
    return newest, note


def _open(note: str, verifiers: Sequence[Verifier], origin: str, which: str) -> Checkpoint:
    reasons = []
    for verifier in verifiers:
        try:
            return open_checkpoint(note, verifier, origin=origin)
        except NoteError as error:
            reasons.append(str(error))
    raise NotVerified(f"{which} is not signed by a trusted key: {'; '.join(reasons)}")


def _entries(read: Read, size: int) -> Iterator[bytes]:
    for number in range(-(-size // tiles.WIDTH)):
        width = min(tiles.WIDTH, size - number * tiles.WIDTH)
        partial = f".p/{width}" if width < tiles.WIDTH else ""
        path = f"tile/entries/{tiles.path_of(number)}{partial}"
        try:
            entries = tiles.unbundle(read(path) or b"")
        except ProofError as error:
            raise NotVerified(f"{path}: {error}") from None
        if len(entries) != width:
            raise NotVerified(
                f"{path} has {len(entries)} entries instead of {width}: entries were removed"
            )
        yield from entries
