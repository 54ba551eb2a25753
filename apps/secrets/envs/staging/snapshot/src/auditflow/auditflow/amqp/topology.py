"""The exchanges, queues and bindings on the broker.

``declare`` creates them over AMQP, any number of times. ``definitions`` describes the same objects
in the form that RabbitMQ imports when it starts. The module needs only the standard library at run
time, because the Job ``secrets`` runs it without other packages (see src/provisioning).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

EXCHANGE: Final = "audit"
DEAD_LETTER_EXCHANGE: Final = "audit.dlx"
EVENTS: Final = "audit_events"
FINDINGS: Final = "audit_alerts"
ARCHIVE: Final = "audit_archive"
#: The routing key of batches for the archive.
ARCHIVE_KEY: Final = "archive.batch"
#: The routing key of receipts of the ingest, for the ledger of the archive.
RECEIPT_KEY: Final = "archive.receipt"
#: The routing key of events of the archive, which report silent hosts.
LEDGER_KEY: Final = "event.ledger"
#: The routing key of records that a producer cannot convert to an event. The exchange ``audit``
#: routes them to the dead-letter queue of the events and to the archive. So a producer needs no
#: permission for the exchange of dead letters, whose routing keys RabbitMQ cannot restrict.
QUARANTINE_KEY: Final = "quarantine.event"

#: The maximum number of deliveries without an acknowledgement. The broker then dead-letters the
#: message. It counts crashes and lost connections too, also those that another message caused.
DELIVERY_LIMIT: Final = 50
#: Dead letters wait for a person, who may inspect them any number of times. RabbitMQ 4 would drop
#: them after 20 inspections, and 3.10 has no value for "unlimited".
DEAD_LETTER_DELIVERY_LIMIT: Final = 1_000_000
#: The broker's ``max_message_size``. It closes the channel of a publisher that exceeds it. Our
#: largest messages have 1 MiB (events, findings, archive); larger ones up to this size become dead
#: letters with a reason.
MAX_MESSAGE_BYTES: Final = 4 * 1024**2
#: A queue of this size rejects new messages, and the publisher reports it to its client.
MAX_QUEUE_BYTES: Final = 8 * 1024**3


@dataclass(frozen=True)
class Queue:
    """A work queue, and its dead-letter queue."""

    name: str
    routing_key: str

    @property
    def dead_letters(self) -> str:
        """The name of the dead-letter queue, which is also its routing key."""
        return f"{self.name}.dlq"

    def arguments(self) -> dict[str, Any]:
        """The arguments of a quorum queue that never drops a message."""
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-max-length-bytes": MAX_QUEUE_BYTES,
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
            "x-dead-letter-routing-key": self.dead_letters,
            "x-dead-letter-strategy": "at-least-once",
        }

    @staticmethod
    def dead_letter_arguments() -> dict[str, Any]:
        """The arguments of the dead-letter queue."""
        return {"x-queue-type": "quorum", "x-delivery-limit": DEAD_LETTER_DELIVERY_LIMIT}


QUEUES: Final = (
    Queue(EVENTS, "event.#"),
    Queue(FINDINGS, "finding.#"),
    Queue(ARCHIVE, "archive.#"),
)
_EXCHANGES: Final = ((EXCHANGE, "topic"), (DEAD_LETTER_EXCHANGE, "direct"))


def declare(channel: BlockingChannel) -> None:
    """Create all objects, or verify that they exist. Needs the permission to configure.

    Raises:
        pika.exceptions.ChannelClosedByBroker: an object exists with other arguments.
    """
    for name, kind in _EXCHANGES:
        channel.exchange_declare(name, kind, durable=True)
    for name, arguments in _queues():
        channel.queue_declare(name, durable=True, arguments=arguments)
    for exchange, queue, routing_key in _bindings():
        channel.queue_bind(queue, exchange, routing_key)


def definitions(*, vhost: str = "/") -> dict[str, Any]:
    """The exchanges, queues and bindings in the form of RabbitMQ's ``load_definitions``."""
    return {
        "exchanges": [
            {
                "vhost": vhost,
                "name": name,
                "type": kind,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for name, kind in _EXCHANGES
        ],
        "queues": [
            {
                "vhost": vhost,
                "name": name,
                "durable": True,
                "auto_delete": False,
                "arguments": arguments,
            }
            for name, arguments in _queues()
        ],
        "bindings": [
            {
                "vhost": vhost,
                "source": exchange,
                "destination": queue,
                "destination_type": "queue",
                "routing_key": routing_key,
                "arguments": {},
            }
            for exchange, queue, routing_key in _bindings()
        ],
    }


def _queues() -> list[tuple[str, dict[str, Any]]]:
    """Name and arguments of each queue. A dead-letter queue precedes its work queue."""
    queues: list[tuple[str, dict[str, Any]]] = []
    for queue in QUEUES:
        queues.append((queue.dead_letters, queue.dead_letter_arguments()))
        queues.append((queue.name, queue.arguments()))
    return queues


def _bindings() -> list[tuple[str, str, str]]:
    """Exchange, queue and routing key of each binding."""
    return [
        *((DEAD_LETTER_EXCHANGE, queue.dead_letters, queue.dead_letters) for queue in QUEUES),
        *((EXCHANGE, queue.name, queue.routing_key) for queue in QUEUES),
        (EXCHANGE, f"{EVENTS}.dlq", QUARANTINE_KEY),
        (EXCHANGE, ARCHIVE, QUARANTINE_KEY),
    ]
