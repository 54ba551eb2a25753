"""The senders of all receivers, made from the routing tree."""

from msgspec import Struct

from notification_service.receivers.delivery import Sender
from notification_service.receivers.links import Links
from notification_service.receivers.network import Addresses
from notification_service.receivers.secrets import SecretFiles
from notification_service.receivers.webhook import WebhookSender
from notification_service.routing.tree import Receiver, Webhook


class Surroundings(Struct, frozen=True):
    """What senders need besides the routing file."""

    secrets: SecretFiles
    addresses: Addresses
    links: Links


def sender_of(receiver: Receiver, around: Surroundings) -> Sender:
    """The sender of a receiver that is not an on-call receiver."""
    match receiver.target:
        case Webhook() as target:
            return WebhookSender(
                target, secrets=around.secrets, addresses=around.addresses, links=around.links
            )
        case _:
            raise NotImplementedError
