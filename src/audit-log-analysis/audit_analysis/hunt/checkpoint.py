"""The state of a hunt in a file, so that the hunt continues after its process was killed."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from audit_analysis.hunt.engine import HuntState
from audit_analysis.hunt.entities import Entity
from auditflow.errors import AuditFlowError


class InvalidCheckpoint(AuditFlowError):
    """The file is no checkpoint, or belongs to another hunt."""


class Checkpoint(Struct, frozen=True, array_like=True):
    """Everything that was found in the events that the analysis received before ``next_us``.

    ``hunt`` identifies the rules and the time range. ``entities`` are those whose events were
    processed; None: the events of all.
    """

    hunt: str
    next_us: int
    until_ms: int
    state: HuntState
    entities: list[Entity] | None = None


_decode = msgspec.msgpack.Decoder(Checkpoint).decode


def read(path: Path, hunt: str) -> Checkpoint | None:
    """The checkpoint of a hunt; None if there is no file.

    Raises:
        InvalidCheckpoint: the file is damaged, or belongs to another hunt.
    """
    try:
        checkpoint = _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise InvalidCheckpoint(f"{path}: cannot be read: {error}") from None
    if checkpoint.hunt != hunt:
        raise InvalidCheckpoint(
            f"{path}: belongs to a hunt with other rules or another time range; delete the file"
            " or choose another one"
        )
    return checkpoint


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint. A killed process leaves the previous one or this one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(msgspec.msgpack.encode(checkpoint))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
