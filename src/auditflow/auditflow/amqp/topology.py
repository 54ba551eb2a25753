"""The exchanges, queues, bindings and users on the broker, said once.

``declare`` makes them over AMQP, any number of times. ``definitions`` says the same, with one
least-privilege user per service, in the form that RabbitMQ imports when it boots.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from pika.adapters.blocking_connection import BlockingChannel

EXCHANGE: Final = "audit"
DEAD_LETTER_EXCHANGE: Final = "audit.dlx"
EVENTS: Final = "audit_events"
FINDINGS: Final = "audit_alerts"

#: Deliveries of a message that were never acknowledged, before the broker sets it aside. It counts
#: crashes and lost connections too, and a message that only shared a connection with the culprit.
DELIVERY_LIMIT: Final = 50
#: Dead letters wait for a person, who may look at them as often as needed (RabbitMQ 4 would drop
#: them after 20 looks, and 3.10 has no word for "unlimited").
DEAD_LETTER_DELIVERY_LIMIT: Final = 1_000_000
#: A queue that grows to this refuses new messages, and the publisher tells its client.
MAX_QUEUE_BYTES: Final = 8 * 1024**3


class Queue(Struct, frozen=True):
    """A queue that is worked on, and the dead-letter queue beside it."""

    name: str
    routing_key: str

    @property
    def dead_letters(self) -> str:
        """The name of the dead-letter queue, which is its routing key too."""
        return f"{self.name}.dlq"

    def arguments(self) -> dict[str, Any]:
        """Safe by every means that a quorum queue has: nothing is dropped, ever."""
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
        """As safe, and the end of the road."""
        return {"x-queue-type": "quorum", "x-delivery-limit": DEAD_LETTER_DELIVERY_LIMIT}


QUEUES: Final = (Queue(EVENTS, "event.#"), Queue(FINDINGS, "finding.#"))


class Permissions(Struct, frozen=True):
    """What a user may do: regular expressions over names, as RabbitMQ has them."""

    configure: str = "^$"
    write: str = "^$"
    read: str = "^$"
    tags: tuple[str, ...] = ()


#: One user per service. Nobody but the administrator can make or remove a queue.
USERS: Final[Mapping[str, Permissions]] = {
    "audit-event-generator": Permissions(write=r"^audit$"),
    "audit-log-analysis": Permissions(write=r"^audit(\.dlx)?$", read=r"^audit_events$"),
    "notification-service": Permissions(write=r"^audit\.dlx$", read=r"^audit_alerts$"),
    "auditflow-operator": Permissions(
        write=r"^amq\.default$", read=r"^audit_(events|alerts)\.dlq$"
    ),
    "auditflow-admin": Permissions(".*", ".*", ".*", tags=("administrator",)),
}


def declare(channel: BlockingChannel) -> None:
    """Make everything, or make sure that it is there. Needs the administrator.

    Raises:
        pika.exceptions.ChannelClosedByBroker: something is there with other arguments.
    """
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    channel.exchange_declare(DEAD_LETTER_EXCHANGE, "direct", durable=True)
    for queue in QUEUES:
        channel.queue_declare(
            queue.dead_letters, durable=True, arguments=queue.dead_letter_arguments()
        )
        channel.queue_bind(queue.dead_letters, DEAD_LETTER_EXCHANGE, queue.dead_letters)
        channel.queue_declare(queue.name, durable=True, arguments=queue.arguments())
        channel.queue_bind(queue.name, EXCHANGE, queue.routing_key)


def definitions(passwords: Mapping[str, str], *, vhost: str = "/") -> dict[str, Any]:
    """The same as ``declare`` and the users, as a document for RabbitMQ's ``load_definitions``.

    ``passwords`` maps names of ``USERS`` to their passwords; only hashes go into the document.
    """
    unknown = passwords.keys() - USERS.keys()
    if unknown:
        raise ValueError(f"no such users: {', '.join(sorted(unknown))}")
    place = {"vhost": vhost}
    exchanges = [(EXCHANGE, "topic"), (DEAD_LETTER_EXCHANGE, "direct")]
    queues = [(one.name, one.arguments()) for one in QUEUES] + [
        (one.dead_letters, one.dead_letter_arguments()) for one in QUEUES
    ]
    bindings = [(EXCHANGE, one.name, one.routing_key) for one in QUEUES] + [
        (DEAD_LETTER_EXCHANGE, one.dead_letters, one.dead_letters) for one in QUEUES
    ]
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(name, password) for name, password in passwords.items()],
        "permissions": [
            {
                **place,
                "user": name,
                "configure": USERS[name].configure,
                "write": USERS[name].write,
                "read": USERS[name].read,
            }
            for name in passwords
        ],
        "exchanges": [
            {**place, "name": name, "type": kind, "durable": True, "auto_delete": False,
             "internal": False, "arguments": {}}
            for name, kind in exchanges
        ],
        "queues": [
            {**place, "name": name, "durable": True, "auto_delete": False, "arguments": arguments}
            for name, arguments in queues
        ],
        "bindings": [
            {**place, "source": source, "destination": destination, "destination_type": "queue",
             "routing_key": key, "arguments": {}}
            for source, destination, key in bindings
        ],
    }  # fmt: skip


def _user(name: str, password: str) -> dict[str, Any]:
    # RabbitMQ's own salted form: base64(salt + sha256(salt + password)).
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": list(USERS[name].tags),
        "limits": {},
    }
