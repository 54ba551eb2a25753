"""Dead letters: messages that could not be processed, with the reason, until a person decides."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from auditflow.amqp import limits, topology
from auditflow.amqp.publisher import Message
from auditflow.contract import identity
from auditflow.contract.pipeline import MAX_REASON

#: ``contract``: the message violates the schema. ``poison``: its processing failed.
Kind = Literal["contract", "poison"]

REASON: Final = "x-auditflow-reason"
KIND: Final = "x-auditflow-kind"
QUEUE: Final = "x-auditflow-queue"
SERVICE: Final = "x-auditflow-service"
DEAD_AT: Final = "x-auditflow-dead-at"
#: The number of the original headers that the dead letter does not carry.
DROPPED_HEADERS: Final = "x-auditflow-dropped-headers"


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A complete message, or one event of a batch, that is dead-lettered."""

    body: bytes
    reason: str
    kind: Kind
    message_id: str | None = None
    correlation_id: str | None = None
    headers: Mapping[str, Any] | None = None

    def message(self, queue: str, *, service: str) -> Message:
        """The message for the dead-letter queue of ``queue``.

        A broker can store it whatever the original properties are: headers that cannot be encoded
        or that are too large are dropped. The body is never changed.
        """
        original = self.headers or {}
        kept = limits.fit_headers(original, limit=limits.DEAD_LETTER_HEADER_BYTES)
        headers: dict[str, Any] = {
            **kept,
            REASON: self.reason[:MAX_REASON].encode("utf-8", "replace").decode(),
            KIND: self.kind,
            QUEUE: queue,
            SERVICE: service,
            DEAD_AT: dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        }
        if len(kept) < len(original):
            headers[DROPPED_HEADERS] = len(original) - len(kept)
        return Message(
            exchange=topology.DEAD_LETTER_EXCHANGE,
            routing_key=topology.Queue(queue, "").dead_letters,
            body=self.body,
            message_id=self.message_id or identity.record_id(self.body),
            correlation_id=self.correlation_id,
            headers=headers,
        )


def reason_of(headers: Mapping[Any, Any]) -> str:
    """The reason of a dead letter, also if the broker itself dead-lettered the message.

    Headers come from any publisher, so that their values may have any type.
    """
    if REASON in headers:
        return str(headers[REASON])
    reason = headers.get("x-first-death-reason") or last_death(headers).get("reason")
    if reason == "delivery_limit":
        return f"delivered {topology.DELIVERY_LIMIT} times and never acknowledged"
    return str(reason or "unknown")


def last_death(headers: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The broker's latest entry in the header ``x-death``. Empty if there is none."""
    deaths = headers.get("x-death")
    latest = deaths[0] if isinstance(deaths, list) and deaths else None
    return latest if isinstance(latest, dict) else {}
