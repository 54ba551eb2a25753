"""Working on a dead-letter queue: look without taking, and put back without losing.

Replaying goes one message at a time: publish to the queue it came from, wait for the broker's
confirm, only then take it off the dead letters. Killed between the two, the message is in both
places; events and findings carry their own identity, so a second replay of it changes nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pika
from msgspec import Struct
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError, UnroutableError

from auditflow.amqp import dead_letter
from auditflow.amqp.topology import Queue
from auditflow.errors import PublishError


class Entry(Struct, frozen=True):
    """A dead letter as it stands in the queue. ``tag`` is valid on its channel only."""

    tag: int
    body: bytes
    message_id: str | None
    headers: Mapping[str, Any]
    properties: pika.BasicProperties

    @property
    def reason(self) -> str:
        """Why it is here."""
        return dead_letter.reason_of(self.headers)

    @property
    def kind(self) -> str:
        """``contract``, ``poison``, or ``broker`` when the broker set it aside by itself."""
        return str(self.headers.get(dead_letter.KIND, "broker"))

    @property
    def died(self) -> str:
        """When, in RFC 3339, or an empty text where the broker did not say."""
        if dead_letter.DEAD_AT in self.headers:
            return str(self.headers[dead_letter.DEAD_AT])
        deaths = self.headers.get("x-death") or [{}]
        died_at = deaths[0].get("time")
        return f"{died_at.isoformat()}Z" if died_at is not None else ""

    def text(self) -> str:
        """The body for a person: indented where it is JSON, else as it is."""
        try:
            return json.dumps(json.loads(self.body), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return self.body.decode("utf-8", "backslashreplace")


class Selection(Struct, frozen=True):
    """Which dead letters are meant. Without any condition: all."""

    reason: str | None = None
    message_id: str | None = None

    def __contains__(self, entry: Entry) -> bool:
        return (self.reason is None or fnmatchcase(entry.reason, self.reason)) and (
            self.message_id is None or entry.message_id == self.message_id
        )


class Replayed(Struct, frozen=True):
    """What a replay did."""

    replayed: int
    left: int
    interrupted: bool = False


def depth(channel: BlockingChannel, queue: Queue) -> int:
    """How many dead letters of a queue are waiting."""
    answer = channel.queue_declare(queue.dead_letters, passive=True)
    return int(answer.method.message_count)


def peek(channel: BlockingChannel, queue: Queue, *, limit: int) -> list[Entry]:
    """The first ``limit`` dead letters. They go back to the queue when the channel closes."""
    return list(_take(channel, queue, limit))


def replay(
    channel: BlockingChannel,
    queue: Queue,
    *,
    selection: Selection,
    interrupted: Callable[[], bool] = lambda: False,
    progress: Callable[[Entry], None] = lambda entry: None,
) -> Replayed:
    """Put the selected dead letters that are there now back into their queue.

    What dies again meanwhile is not taken twice. ``interrupted`` is asked between two messages.

    Raises:
        PublishError: the queue does not take a message; it and the rest stay where they are.
    """
    channel.confirm_delivery()
    total, done = depth(channel, queue), 0
    for entry in _take(channel, queue, total):
        if entry in selection:
            _publish(channel, queue, entry)
            channel.basic_ack(entry.tag)
            done += 1
            progress(entry)
        if interrupted():
            return Replayed(done, total - done, interrupted=True)
    return Replayed(done, total - done)


def _take(channel: BlockingChannel, queue: Queue, limit: int) -> Iterator[Entry]:
    for _ in range(limit):
        method, properties, body = channel.basic_get(queue.dead_letters)
        if method is None:
            return
        yield Entry(
            method.delivery_tag, body, properties.message_id, properties.headers or {}, properties
        )


def _publish(channel: BlockingChannel, queue: Queue, entry: Entry) -> None:
    kept = {
        name: value
        for name, value in entry.headers.items()
        if not name.startswith(("x-auditflow-", "x-death", "x-first-death", "x-last-death"))
        and name not in ("x-delivery-count", "x-acquired-count")
    }
    properties = pika.BasicProperties(
        content_type=entry.properties.content_type,
        delivery_mode=pika.DeliveryMode.Persistent.value,
        message_id=entry.message_id,
        correlation_id=entry.properties.correlation_id,
        headers=kept or None,
    )
    try:
        channel.basic_publish("", queue.name, entry.body, properties, mandatory=True)
    except (NackError, UnroutableError) as error:
        raise PublishError(f"{queue.name} does not take {entry.message_id}: {error!r}") from None
