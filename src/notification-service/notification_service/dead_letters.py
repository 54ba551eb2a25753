"""Queues and dead letters: reads, replays and deletions over a short connection to the broker."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pika
from msgspec import Struct
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from auditflow import amqp
from auditflow.amqp import dead_letter_queue as letters
from auditflow.amqp import topology
from auditflow.amqp.dead_letter_queue import Entry, Replayed, Selection
from auditflow.amqp.topology import Queue
from auditflow.contract.pipeline import (
    DeadLetterDetail,
    DeadLetterList,
    DeadLetterView,
    QueueView,
    ReasonCount,
)
from auditflow.errors import Unavailable
from auditflow.printable import printable
from auditflow.telemetry import logs
from notification_service.settings import Settings

#: Dead letters that a list examines: their number and the bytes of their bodies.
MAX_EXAMINED: Final = 500
MAX_BYTES: Final = 16 * 1024 * 1024
#: Time for a replay or a deletion. The rest follows with the next request.
CHANGE_SECONDS: Final = 5.0
#: Time to wait for another request that reads the dead letters, because it holds the messages.
_WAIT_SECONDS: Final = 8.0
_BEGINNING: Final = 200
#: Parts of a message in the answer, in characters.
_MAX_HEADER: Final = 1_000
_MAX_HEADERS: Final = 50

QUEUES: Final = {queue.name: queue for queue in topology.QUEUES}
Change = Callable[..., Replayed]
_log = logs.get(__name__)


class Changed(Struct, frozen=True):
    """The result of a replay or a deletion, with the identifiers of the first messages."""

    result: Replayed
    message_ids: tuple[str, ...]


class DeadLetters:
    """Reads and changes the dead letters of all queues. It is thread-safe."""

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self._parameters = parameters
        self._lock = threading.Lock()

    @classmethod
    def create(cls, settings: Settings) -> "DeadLetters | None":
        """Connects with the operator's account. None without its password."""
        password = settings.rabbitmq_operator_pass
        if password is None:
            return None
        parameters = amqp.connection_parameters(settings, name="notification-service dead letters")
        parameters.credentials = pika.PlainCredentials(
            settings.rabbitmq_operator_user, password.get_secret_value()
        )
        return cls(parameters)

    def queues(self) -> tuple[QueueView, ...]:
        """All work queues with the number of waiting messages and dead letters."""
        with self._channel() as channel:
            return tuple(_queue(channel, queue) for queue in topology.QUEUES)

    def page(self, queue: Queue, *, reason: str | None, limit: int) -> DeadLetterList:
        """The oldest dead letters, at most ``limit`` of those with the reason."""
        with self._alone(), self._channel() as channel:
            total = letters.depth(channel, queue)
            found = letters.peek(channel, queue, limit=MAX_EXAMINED, max_bytes=MAX_BYTES)
            counts = Counter(entry.shown_reason for entry in found)
            chosen = [entry for entry in found if reason is None or entry.shown_reason == reason]
            return DeadLetterList(
                queue=queue.name,
                total=total,
                examined=len(found),
                reasons=tuple(ReasonCount(*pair) for pair in counts.most_common(50)),
                letters=tuple(map(_view, chosen[:limit])),
            )

    def letter(self, queue: Queue, key: str) -> DeadLetterDetail | None:
        """One dead letter with its body, or None if it is not among the oldest."""
        with self._alone(), self._channel() as channel:
            for entry in letters.peek(channel, queue, limit=MAX_EXAMINED, max_bytes=MAX_BYTES):
                if entry.key == key:
                    return DeadLetterDetail(
                        queue=queue.name,
                        letter=_view(entry),
                        headers=_headers(entry),
                        body=entry.text(),
                    )
        return None

    def replay(self, queue: Queue, selection: Selection) -> Changed:
        """Publish the selected dead letters to their queue again."""
        return self._change(letters.replay, "dead letter replayed", queue, selection)

    def discard(self, queue: Queue, selection: Selection) -> Changed:
        """Delete the selected dead letters."""
        return self._change(letters.discard, "dead letter discarded", queue, selection)

    def _change(self, change: Change, event: str, queue: Queue, selection: Selection) -> Changed:
        changed: list[str] = []

        def report(entry: Entry) -> None:
            # The log contains each message that is deleted, so that the deletion can be examined.
            changed.append(printable(entry.message_id or entry.key)[:100])
            _log.warning(
                event, queue=queue.name, key=entry.key, message_id=entry.message_id,
                reason=entry.shown_reason,
            )  # fmt: skip

        with self._alone(), self._channel() as channel:
            deadline = time.monotonic() + CHANGE_SECONDS
            result = change(
                channel,
                queue,
                selection=selection,
                interrupted=lambda: time.monotonic() > deadline,
                progress=report,
            )
        return Changed(result, tuple(changed[:20]))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A reader holds the messages until its channel closes. Others would not find them."""
        if not self._lock.acquire(timeout=_WAIT_SECONDS):
            raise Unavailable("rabbitmq", "another request reads the dead letters")
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        try:
            connection = pika.BlockingConnection(self._parameters)
        except (AMQPError, OSError) as error:
            raise Unavailable("rabbitmq", f"no connection: {error!r}") from None
        try:
            yield connection.channel()
        except AMQPError as error:
            raise Unavailable("rabbitmq", repr(error)) from None
        finally:
            if connection.is_open:
                connection.close()


def _queue(channel: BlockingChannel, queue: Queue) -> QueueView:
    state = channel.queue_declare(queue.name, passive=True).method
    return QueueView(
        name=queue.name,
        messages=int(state.message_count),
        consumers=int(state.consumer_count),
        dead_letters=letters.depth(channel, queue),
    )


def _view(entry: Entry) -> DeadLetterView:
    beginning = entry.body[: 4 * _BEGINNING].decode("utf-8", "replace")[:_BEGINNING]
    return DeadLetterView(
        key=entry.key,
        kind=printable(entry.kind)[:40],
        reason=entry.shown_reason,
        at=printable(entry.died)[:60],
        message_id=None if entry.message_id is None else printable(entry.message_id),
        size=len(entry.body),
        beginning=printable(beginning),
    )


def _headers(entry: Entry) -> dict[str, str]:
    pairs = list(entry.headers.items())[:_MAX_HEADERS]
    return {
        printable(str(name))[:_MAX_HEADER]: printable(str(value))[:_MAX_HEADER]
        for name, value in pairs
    }
