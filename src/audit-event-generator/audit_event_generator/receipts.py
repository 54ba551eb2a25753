"""Labels of messages, and receipts of those that the broker confirmed.

The archive compares them with the messages that it stored (see auditflow.contract.ledger).
"""

import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from auditflow.amqp import Message, topology
from auditflow.amqp.connection import retry_until_stopped
from auditflow.contract import ledger
from auditflow.contract.ledger import HOUR_MS, Entry, Label, Receipt, runs_of
from auditflow.errors import Unavailable
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: Time between two receipts (seconds).
INTERVAL_SECONDS: Final = 5.0
#: Maximum number of messages of a receipt. Many receipts are sent if more messages are confirmed.
MAX_MESSAGES: Final = 50_000
_CONFIRM_SECONDS: Final = 5.0

log = logs.get(__name__)


class AcceptedMessages:
    """Numbers messages, and collects those that are confirmed. Any thread may use it."""

    def __init__(self, producer: str | None = None) -> None:
        """``producer`` identifies the process. The default is random."""
        self.producer = producer or secrets.token_hex(8)
        self._lock = threading.Lock()
        self._next: dict[tuple[str, int], int] = {}
        self._confirmed: list[Label] = []

    def labels(self, source: str, sizes: Sequence[int], *, accepted_ms: int) -> list[Label]:
        """A new label for each message. ``sizes`` are the numbers of events of the messages."""
        hour = accepted_ms // HOUR_MS
        with self._lock:
            if (source, hour) not in self._next:
                # Labels of an hour are created in this hour, except those of threads that wait.
                self._next = {key: n for key, n in self._next.items() if key[1] >= hour - 1}
            first = self._next.get((source, hour), 0)
            self._next[source, hour] = first + len(sizes)
        return [
            Label(self.producer, source, hour, number, size)
            for number, size in enumerate(sizes, first)
        ]

    def confirm(self, labels: Iterable[Label]) -> None:
        """The broker has stored these messages."""
        with self._lock:
            self._confirmed.extend(labels)

    def take(self, *, confirmed_ms: int) -> Receipt | None:
        """A receipt of messages that were confirmed since the last receipt; None without any."""
        with self._lock:
            labels = self._confirmed[:MAX_MESSAGES]
            self._confirmed = self._confirmed[MAX_MESSAGES:]
        if not labels:
            return None
        messages: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for label in labels:
            messages[label.source, label.hour].append((label.number, label.events))
        entries = tuple(
            Entry(source, hour, runs_of(pairs))
            for (source, hour), pairs in sorted(messages.items())
        )
        return Receipt(self.producer, confirmed_ms, entries)


class Broker(Protocol):
    """The part of ``auditflow.amqp.Publisher`` that is used here. ``timeout`` is in seconds."""

    def publish(self, messages: Sequence[Message], *, timeout: float) -> None: ...


class ReceiptSender:
    """Sends receipts on its own thread. A receipt is sent again until the broker confirms it."""

    def __init__(
        self,
        accepted: AcceptedMessages,
        broker: Broker,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._accepted = accepted
        self._broker = broker
        self._interval_seconds = interval_seconds
        self._now_ms = now_ms
        self._stop = threading.Event()
        self._worker = Worker("receipts", self._run)

    def start(self) -> None:
        """Start the thread. Returns immediately."""
        self._worker.start()

    def stop(self) -> None:
        """Send the last receipt, and end the thread."""
        self._stop.set()
        self._worker.stop(timeout=_CONFIRM_SECONDS + 1)

    def alive(self) -> str | None:
        """Why the thread does not run; None while it runs."""
        return self._worker.check()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while (receipt := self._accepted.take(confirmed_ms=self._now_ms())) is not None:
            message = to_message(receipt)
            try:
                retry_until_stopped(self._stop, Unavailable, report=_report)(
                    self._broker.publish, [message], timeout=_CONFIRM_SECONDS
                )
            except Unavailable as error:
                log.warning("a receipt was not sent before the end", error=str(error))
                return


def to_message(receipt: Receipt) -> Message:
    """The message of a receipt."""
    body = ledger.encode_receipt(receipt)
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=topology.RECEIPT_KEY,
        body=body,
        message_id=ledger.receipt_id(body).hex(),
        content_type=ledger.CONTENT_TYPE,
    )


def _report(error: BaseException, seconds: float) -> None:
    log.warning("a receipt waits for the broker", error=str(error), retry_in=round(seconds, 1))
