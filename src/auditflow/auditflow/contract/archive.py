"""A batch of archived messages (on the queue ``audit_archive``).

The analysis publishes each batch of messages that it completed: the bytes as they arrived, and what
only the analysis knows about single events. The archive writer decodes the bytes again, because
this costs the analysis almost nothing.

A message of the queue is MessagePack. ``content`` is MessagePack that is compressed with zstd.
"""

import hashlib
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from auditflow.contract.event import MAX_MESSAGE_BYTES
from auditflow.errors import ContractError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT_TYPE: Final = "application/x-auditflow-archive"
#: zstd's fastest level that compresses well. The writer compresses again, by columns.
LEVEL: Final = 1
#: A batch has about 2 MiB of message bodies, and their properties. A decompressed content above
#: this limit is invalid.
MAX_CONTENT_BYTES: Final = 32 * 1024 * 1024
#: Maximum number of messages of a batch. The analysis handles at most 2,500 messages at once.
MAX_MESSAGES: Final = 10_000
#: Maximum number of events of a batch. Each is a row in the memory of the writer.
MAX_EVENTS: Final = 100_000
#: The latest valid time in milliseconds since 1970: the year 2100.
MAX_TIME_MS: Final = 4_102_444_800_000
#: The first bytes of a longer message are archived. The dead-letter queue has all of them.
MAX_BODY_BYTES: Final = MAX_MESSAGE_BYTES
#: The index of an event that means all events of a message.
ALL_EVENTS: Final = -1


TimeMs = Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]
TimeUs = Annotated[int, Meta(ge=0, le=MAX_TIME_MS * 1000)]


class ArchivedMessage(Struct, frozen=True, array_like=True):
    """A message of the queue ``audit_events``: one event or an array of events.

    ``properties`` are its encoded AMQP properties. The headers among them contain the time of
    acceptance.
    """

    properties: bytes
    body: bytes


class Note(Struct, frozen=True, array_like=True, kw_only=True):
    """What the analysis knows about one event.

    ``message`` is the index of the message in the batch, and ``event`` the index of the event in
    the message, or ``ALL_EVENTS``.

    - ``late``: too late for a window.
    - ``staged``: a staged rule matched.
    - ``clamped_ms``: the time that was used instead of the event's timestamp, in milliseconds since
      1970.
    - ``refused``: the reason why the event was dead-lettered.
    """

    message: int
    event: int
    late: bool = False
    staged: bool = False
    clamped_ms: TimeMs | None = None
    refused: str | None = None


class ArchiveBatch(Struct, frozen=True, array_like=True, kw_only=True):
    """A batch, as it travels. ``content`` is the compressed list of its messages.

    ``batch_id`` is the hash of the messages, so that a batch that is published again has the same
    identifier. ``processed_ms`` is the time of the analysis, in milliseconds since 1970. ``events``
    is the number of events and refused records that the analysis counted, if it counted them.
    ``processed_us`` is the time of the analysis in microseconds, so that a hunt can process batches
    in the same order; None in batches of an older version.
    """

    version: int = 1
    batch_id: bytes
    processed_ms: TimeMs
    content: bytes
    notes: Annotated[tuple[Note, ...], Meta(max_length=MAX_EVENTS)] = ()
    events: Annotated[int, Meta(ge=0, le=MAX_EVENTS)] | None = None
    processed_us: TimeUs | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_batch = msgspec.msgpack.Decoder(ArchiveBatch).decode
_decode_messages: Callable[[bytes], tuple[ArchivedMessage, ...]] = msgspec.msgpack.Decoder(
    Annotated[tuple[ArchivedMessage, ...], Meta(max_length=MAX_MESSAGES)]
).decode


class CompressedMessages(Struct, frozen=True):
    """The compressed messages of a batch, and their hash."""

    batch_id: bytes
    content: bytes

    def with_notes(
        self,
        notes: Sequence[Note],
        *,
        processed_ms: int,
        processed_us: int | None = None,
        events: int | None = None,
    ) -> bytes:
        """Return the encoded batch.

        Args:
            notes: what the analysis decided about the messages.
            processed_ms: time of the processing, milliseconds since 1970.
            processed_us: the same time in microseconds. The order of a hunt uses it.
            events: number of events in the messages.
        """
        return _encode(
            ArchiveBatch(
                batch_id=self.batch_id,
                processed_ms=processed_ms,
                content=self.content,
                notes=tuple(notes),
                events=events,
                processed_us=processed_us,
            )
        )


def compress(messages: Sequence[ArchivedMessage]) -> CompressedMessages:
    """Compress messages."""
    encoded = _encode(messages)
    digest = hashlib.blake2b(encoded, digest_size=16).digest()
    return CompressedMessages(digest, zstd.compress(encoded, LEVEL))


def decode(body: bytes) -> ArchiveBatch:
    """Read a batch. Its messages stay compressed.

    Raises:
        ContractError: the bytes are not a batch of a known version.
    """
    try:
        batch = _decode_batch(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ContractError(f"not a batch of the archive: {error}") from None
    if batch.version != 1:
        raise ContractError(f"the version {batch.version} of the batch is unknown")
    return batch


def messages_of(batch: ArchiveBatch) -> tuple[ArchivedMessage, ...]:
    """Decompress the messages of a batch.

    Raises:
        ContractError: the content is damaged or too large, or has too many messages.
    """
    try:
        decompressor = zstd.ZstdDecompressor()
        content = decompressor.decompress(batch.content, MAX_CONTENT_BYTES)
        if not decompressor.eof:
            raise ContractError(f"the content has more than {MAX_CONTENT_BYTES} bytes")
        if hashlib.blake2b(content, digest_size=16).digest() != batch.batch_id:
            raise ContractError("the content does not have the hash that the batch states")
        return _decode_messages(content)
    except (zstd.ZstdError, msgspec.MsgspecError, ValueError) as error:
        raise ContractError(f"the content of the batch is damaged: {error}") from None
