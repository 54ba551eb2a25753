"""The append-only history of actions, as a hash chain.

Each entry is one JSON document. Its hash is SHA-256 over the hash of the previous entry, the length
of the document in bytes (8 bytes, big-endian) and the document. Entries are numbered from 1 without
gaps.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from auditflow.contract.alert import Action, Status, Verdict
from notification_service.alert import Alert
from notification_service.triage import Command, TriageState, state_of

#: The hash before the first entry.
EMPTY_HASH: Final = bytes(32)


class Actor(Struct, frozen=True):
    """Who acts."""

    name: str
    kind: Literal["person", "token", "system"]


SYSTEM: Final = Actor("notification-service", "system")


class Entry(Struct, frozen=True, kw_only=True):
    """One action, as it is stored and hashed. ``before`` is the state that an undo restores."""

    number: int
    alert_id: UUID
    at: dt.datetime
    actor: str
    actor_kind: Literal["person", "token", "system"]
    action: Action
    from_status: Status
    to_status: Status
    verdict: Verdict | None = None
    duplicate_of: UUID | None = None
    assignee: str | None = None
    snoozed_until: dt.datetime | None = None
    comment: str | None = None
    bulk_id: UUID | None = None
    undone_entry: int | None = None
    before: TriageState


class Transition(Struct, frozen=True, kw_only=True):
    """An action that was applied: the alert before and after it."""

    before: Alert
    after: Alert
    command: Command
    undone_entry: int | None = None


class ChainedEntry(Struct, frozen=True):
    """An entry with its encoding and its hash."""

    entry: Entry
    document: bytes
    hash: bytes


def chain(
    transitions: Iterable[Transition],
    *,
    actor: Actor,
    at: dt.datetime,
    last_number: int,
    last_hash: bytes,
    bulk_id: UUID | None = None,
) -> Iterator[ChainedEntry]:
    """Entries for these transitions, which continue the chain after the last entry."""
    previous = last_hash
    for number, transition in enumerate(transitions, start=last_number + 1):
        command, after = transition.command, transition.after
        entry = Entry(
            number=number,
            alert_id=after.alert_id,
            at=at,
            actor=actor.name,
            actor_kind=actor.kind,
            action=command.action,
            from_status=transition.before.status,
            to_status=after.status,
            verdict=after.verdict,
            duplicate_of=after.duplicate_of,
            assignee=after.assignee,
            snoozed_until=after.snoozed_until,
            comment=command.comment,
            bulk_id=bulk_id,
            undone_entry=transition.undone_entry,
            before=state_of(transition.before),
        )
        document = msgspec.json.encode(entry)
        previous = hash_entry(previous, document)
        yield ChainedEntry(entry, document, previous)


def hash_entry(previous_hash: bytes, document: bytes) -> bytes:
    """The hash of an entry."""
    length = len(document).to_bytes(8, "big")
    return hashlib.sha256(previous_hash + length + document).digest()
