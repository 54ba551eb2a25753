"""Dead letters: what could not be processed, with the reason on it, kept until a person decides."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from auditflow.amqp import topology
from auditflow.amqp.publisher import Message
from auditflow.contract import identity

#: ``contract``: the bytes do not fit the schema. ``poison``: they fit, and processing failed.
Kind = Literal["contract", "poison"]

REASON: Final = "x-auditflow-reason"
KIND: Final = "x-auditflow-kind"
QUEUE: Final = "x-auditflow-queue"
SERVICE: Final = "x-auditflow-service"
DEAD_AT: Final = "x-auditflow-dead-at"
#: RabbitMQ refuses frames with headers over its frame size, and a person reads a sentence.
_MAX_REASON: Final = 500


class DeadLetter(Struct, frozen=True, kw_only=True):
    """Bytes to set aside: a whole message, or one event of a batch."""

    body: bytes
    reason: str
    kind: Kind
    message_id: str | None = None
    correlation_id: str | None = None
    headers: Mapping[str, Any] | None = None

    def message(self, queue: str, *, service: str) -> Message:
        """The message that carries it to the dead-letter queue beside ``queue``."""
        headers = {
            **(self.headers or {}),
            REASON: self.reason[:_MAX_REASON],
            KIND: self.kind,
            QUEUE: queue,
            SERVICE: service,
            DEAD_AT: dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        }
        return Message(
            exchange=topology.DEAD_LETTER_EXCHANGE,
            routing_key=topology.Queue(queue, "").dead_letters,
            body=self.body,
            message_id=self.message_id or identity.record_id(self.body),
            correlation_id=self.correlation_id,
            headers=headers,
        )


def reason_of(headers: Mapping[str, Any]) -> str:
    """Why a message stands in a dead-letter queue, also when the broker itself put it there."""
    if REASON in headers:
        return str(headers[REASON])
    deaths = headers.get("x-death") or [{}]
    why = headers.get("x-first-death-reason") or deaths[0].get("reason")
    if why == "delivery_limit":
        return f"delivered {topology.DELIVERY_LIMIT} times and never acknowledged"
    return str(why or "unknown")
