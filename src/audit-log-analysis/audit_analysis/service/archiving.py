"""Messages for the archive: the bytes of each batch, and what the analysis knows about its events.

They are published together with the batch's findings, and the batch is acknowledged after the
broker has confirmed them. Therefore no acknowledged event is missing in the archive.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from auditflow.amqp import DeadLetter, Delivery, Message, topology
from auditflow.amqp.delivery import encode_properties
from auditflow.contract import acceptance, archive, ledger
from auditflow.contract.archive import ArchivedMessage, CompressedMessages, Note

#: Maximum size of the properties of a message that are archived unchanged, in bytes.
_MAX_PROPERTIES: Final = 4096

#: The index of a message in its batch, and of an event in its message.
Position = tuple[int, int]


class Archiver:
    """Prepares batches for the archive."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled

    def compress(self, batch: Sequence[Delivery]) -> "ArchivedBatch":
        """Compress the messages of a batch."""
        if not self._enabled:
            return ArchivedBatch(None)
        return ArchivedBatch(
            archive.compress(
                [
                    ArchivedMessage(_properties(delivery), delivery.body[: archive.MAX_BODY_BYTES])
                    for delivery in batch
                ]
            )
        )


class ArchivedBatch:
    """A compressed batch, and notes about single events."""

    def __init__(self, compressed: CompressedMessages | None) -> None:
        """Without ``compressed``, nothing is archived."""
        self._compressed = compressed
        self._notes: dict[Position, Note] = {}

    def add_refused(self, position: Position, reason: str) -> None:
        """The event is dead-lettered."""
        self._notes[position] = msgspec.structs.replace(self._note(position), refused=reason)

    def add_clamped(self, position: Position, timestamp_ms: int) -> None:
        """The event's timestamp was replaced."""
        self._notes[position] = msgspec.structs.replace(
            self._note(position), clamped_ms=timestamp_ms
        )

    def add_staged(self, position: Position) -> None:
        """A staged rule matched the event."""
        self._notes[position] = msgspec.structs.replace(self._note(position), staged=True)

    def messages(self, late: set[Position], *, processed_us: int, events: int) -> Sequence[Message]:
        """The messages to publish.

        ``late`` events were too late for a window. ``processed_us`` is the time at which the
        processing began, in microseconds since 1970. ``events`` is the number of events and refused
        records of the batch.
        """
        if self._compressed is None:
            return ()
        notes = dict(self._notes)
        for position in late:
            notes[position] = msgspec.structs.replace(self._note(position), late=True)
        body = self._compressed.with_notes(
            [notes[position] for position in sorted(notes)],
            processed_ms=processed_us // 1000,
            processed_us=processed_us,
            events=events,
        )
        return (_message(self._compressed.batch_id, body),)

    def _note(self, position: Position) -> Note:
        return self._notes.get(position) or Note(message=position[0], event=position[1])


def poison_messages(dead_letters: Sequence[DeadLetter]) -> Sequence[Message]:
    """Messages for the archive about messages that were dead-lettered because processing failed."""
    messages = [
        ArchivedMessage(
            _essential_properties(letter.correlation_id, letter.headers or {}),
            letter.body[: archive.MAX_BODY_BYTES],
        )
        for letter in dead_letters
    ]
    compressed = archive.compress(messages)
    notes = [
        Note(message=index, event=archive.ALL_EVENTS, refused=letter.reason)
        for index, letter in enumerate(dead_letters)
    ]
    body = compressed.with_notes(notes, processed_ms=time.time_ns() // 1_000_000)
    return (_message(compressed.batch_id, body),)


def _properties(delivery: Delivery) -> bytes:
    """The properties as they arrived. Of large ones, only what the archive stores."""
    if len(delivery.properties) <= _MAX_PROPERTIES:
        return delivery.properties
    return _essential_properties(delivery.correlation_id, delivery.headers)


def _essential_properties(correlation_id: str | None, headers: Mapping[str, Any]) -> bytes:
    return encode_properties(
        correlation_id=correlation_id,
        headers={**acceptance.copied_header(headers), **ledger.copied_header(headers)},
    )


def _message(batch_id: bytes, body: bytes) -> Message:
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=topology.ARCHIVE_KEY,
        body=body,
        message_id=batch_id.hex(),
        content_type=archive.CONTENT_TYPE,
    )
