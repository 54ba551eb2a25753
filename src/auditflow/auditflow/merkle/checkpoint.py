"""Checkpoints as in https://c2sp.org/tlog-checkpoint: the size and the root of a log, signed."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from auditflow.merkle.note import NoteError, Signer, Verifier, open_note

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log. ``origin`` names the log; the root has 32 bytes."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise NoteError("the origin of a checkpoint is one line that is not empty")
        if self.size < 0 or len(self.root) != 32:
            raise NoteError("a checkpoint has a size from 0 and a root of 32 bytes")

    def sign(self, signer: Signer) -> str:
        """The checkpoint as a signed note."""
        root = base64.b64encode(self.root).decode()
        return signer.sign(f"{self.origin}\n{self.size}\n{root}\n")


def open_checkpoint(note: str, verifier: Verifier, *, origin: str) -> Checkpoint:
    """Read a checkpoint that this key signed for this log. Raises NoteError."""
    lines = open_note(note, verifier).split("\n")
    if len(lines) < 4 or not _SIZE.fullmatch(lines[1]):
        raise NoteError("a checkpoint has the lines origin, size and root")
    if lines[0] != origin:
        raise NoteError(f"the checkpoint is not of the log {origin}")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("the root of the checkpoint is not base64") from None
    return Checkpoint(origin, int(lines[1]), root)
