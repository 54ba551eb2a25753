"""Reads a dead-letter queue without removing messages, and replays or deletes selected messages.

A replay processes one message at a time: it publishes the message to its original queue, waits for
the broker's confirm, and then removes it from the dead letters. If the process ends in between,
the message is in both queues. Events and findings have their own identity, so a second replay of
the message changes nothing.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pika
from msgspec import Struct
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError, UnroutableError

from auditflow.amqp import dead_letter, limits
from auditflow.amqp.topology import Queue
from auditflow.contract import ledger
from auditflow.contract.pipeline import MAX_REASON
from auditflow.errors import PublishError
from auditflow.printable import printable


class Entry(Struct, frozen=True):
    """A dead letter in the queue. ``tag`` is valid on its channel only.

    ``headers`` and ``properties`` are those of any publisher: their names and values may have any
    type.
    """

    tag: int
    body: bytes
    message_id: str | None
    headers: Mapping[Any, Any]
    properties: pika.BasicProperties

    @property
    def reason(self) -> str:
        """Why the message was dead-lettered."""
        return dead_letter.reason_of(self.headers)

    @property
    def shown_reason(self) -> str:
        """The reason without characters that a terminal or page would interpret."""
        return printable(self.reason)[:MAX_REASON]

    @property
    def key(self) -> str:
        """Identifies the message at each read. Equal messages have the same key."""
        digest = hashlib.blake2b(self.body, digest_size=16)
        for text in (self.message_id or "", self.reason, self.died):
            digest.update(f"\0{text}".encode("utf-8", "replace"))
        return digest.hexdigest()

    @property
    def kind(self) -> str:
        """``contract``, ``poison``, or ``broker`` if the broker dead-lettered the message."""
        return str(self.headers.get(dead_letter.KIND, "broker"))

    @property
    def died(self) -> str:
        """The time in RFC 3339, or an empty text if the broker did not add it."""
        if dead_letter.DEAD_AT in self.headers:
            return str(self.headers[dead_letter.DEAD_AT])
        died_at = dead_letter.last_death(self.headers).get("time")
        return f"{died_at.isoformat()}Z" if isinstance(died_at, dt.datetime) else ""

    def text(self) -> str:
        """The body for a person: indented if it is JSON, otherwise unchanged.

        Characters that are not printable are escaped, except line breaks.
        """
        try:
            text = json.dumps(json.loads(self.body), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            text = self.body.decode("utf-8", "backslashreplace")
        return printable(text, keep="\n")


class Selection(Struct, frozen=True):
    """Selects dead letters. Without any condition: all."""

    #: A pattern with ``*``.
    reason: str | None = None
    message_id: str | None = None
    #: The exact reason, in its printable form.
    exact_reason: str | None = None
    keys: frozenset[str] | None = None

    def __contains__(self, entry: Entry) -> bool:
        return (
            (self.reason is None or fnmatchcase(entry.reason, self.reason))
            and (self.message_id is None or entry.message_id == self.message_id)
            and (self.exact_reason is None or entry.shown_reason == self.exact_reason)
            and (self.keys is None or entry.key in self.keys)
        )


class Replayed(Struct, frozen=True):
    """The result of a replay, or of a deletion: ``replayed`` messages left the dead letters."""

    replayed: int
    left: int
    interrupted: bool = False


def depth(channel: BlockingChannel, queue: Queue) -> int:
    """The number of dead letters of a queue."""
    answer = channel.queue_declare(queue.dead_letters, passive=True)
    return int(answer.method.message_count)


def peek(
    channel: BlockingChannel, queue: Queue, *, limit: int, max_bytes: int | None = None
) -> list[Entry]:
    """The first ``limit`` dead letters, up to ``max_bytes`` in total but at least one.

    They go back to the queue when the channel closes.
    """
    entries: list[Entry] = []
    size = 0
    for entry in _take(channel, queue, limit):
        entries.append(entry)
        size += len(entry.body)
        if max_bytes is not None and size >= max_bytes:
            break
    return entries


def replay(
    channel: BlockingChannel,
    queue: Queue,
    *,
    selection: Selection,
    interrupted: Callable[[], bool] = lambda: False,
    progress: Callable[[Entry], None] = lambda entry: None,
) -> Replayed:
    """Publish the selected dead letters that are in the queue now to their original queue.

    A message that is dead-lettered again during the replay is not replayed twice. ``interrupted``
    is called between two messages. Headers that cannot be encoded are dropped, and the body is not
    changed.

    Raises:
        PublishError: the queue does not accept a message. It and the remaining messages stay.
    """
    channel.confirm_delivery()

    def publish(entry: Entry) -> None:
        _publish(channel, queue, entry)
        channel.basic_ack(entry.tag)
        progress(entry)

    return _process_selected(channel, queue, selection, publish, interrupted)


def discard(
    channel: BlockingChannel,
    queue: Queue,
    *,
    selection: Selection,
    interrupted: Callable[[], bool] = lambda: False,
    progress: Callable[[Entry], None] = lambda entry: None,
) -> Replayed:
    """Delete the selected dead letters. They cannot be restored.

    ``progress`` is called before a message is deleted. ``interrupted`` is called between two
    messages.
    """

    def delete(entry: Entry) -> None:
        progress(entry)
        channel.basic_ack(entry.tag)

    return _process_selected(channel, queue, selection, delete, interrupted)


def _process_selected(
    channel: BlockingChannel,
    queue: Queue,
    selection: Selection,
    process: Callable[[Entry], None],
    interrupted: Callable[[], bool],
) -> Replayed:
    """Process the selected dead letters that are in the queue now, each once."""
    total, done = depth(channel, queue), 0
    for entry in _take(channel, queue, total):
        if entry in selection:
            process(entry)
            done += 1
        if interrupted():
            return Replayed(done, total - done, interrupted=True)
    return Replayed(done, total - done)


def _take(channel: BlockingChannel, queue: Queue, limit: int) -> Iterator[Entry]:
    for _ in range(limit):
        method, properties, body = channel.basic_get(queue.dead_letters)
        if method is None:
            return
        yield Entry(
            method.delivery_tag,
            body,
            _short_string(properties.message_id),
            properties.headers or {},
            properties,
        )


def _publish(channel: BlockingChannel, queue: Queue, entry: Entry) -> None:
    kept = {
        name: value
        for name, value in entry.headers.items()
        if isinstance(name, str)
        and not name.startswith(("x-auditflow-", "x-death", "x-first-death", "x-last-death"))
        and name not in ("x-delivery-count", "x-acquired-count")
    }
    properties = pika.BasicProperties(
        content_type=_short_string(entry.properties.content_type),
        delivery_mode=pika.DeliveryMode.Persistent.value,
        message_id=entry.message_id,
        correlation_id=_short_string(entry.properties.correlation_id),
        # The ledger counts a message once, also if it is replayed.
        headers=limits.fit_headers(
            kept | ledger.copied_header(entry.headers), limit=limits.DEAD_LETTER_HEADER_BYTES
        )
        or None,
    )
    try:
        channel.basic_publish("", queue.name, entry.body, properties, mandatory=True)
    except (NackError, UnroutableError) as error:
        message_id = printable(entry.message_id or "")
        raise PublishError(f"{queue.name} does not accept {message_id}: {error!r}") from None


def _short_string(value: object) -> str | None:
    """A property that can be published again. pika returns bytes if a property is not UTF-8."""
    if value is None:
        return None
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return limits.short_string(text)
