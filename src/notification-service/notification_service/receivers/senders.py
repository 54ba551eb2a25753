"""The senders of all receivers, made from the routing tree."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from notification_service.receivers.apprise_sender import AppriseSender
from notification_service.receivers.delivery import Message, Sender
from notification_service.receivers.links import Links
from notification_service.receivers.network import Addresses
from notification_service.receivers.rendering import Templates
from notification_service.receivers.secrets import SecretFiles
from notification_service.receivers.webhook import WebhookSender
from notification_service.routing.tree import Apprise, OnCall, Receiver, Tree, Webhook


class Surroundings(Struct, frozen=True):
    """The parameters of senders besides the tree. ``folder`` is the folder of the routing file."""

    secrets: SecretFiles
    addresses: Addresses
    links: Links
    folder: Path | None
    #: The receiver that is on call now, by the name of a schedule; None when nobody is.
    on_call: Callable[[str], str | None]


class OnCallSender:
    """Sends to the receiver of the person who is on call at the time of the attempt."""

    def __init__(self, tree: Tree, target: OnCall, around: Surroundings) -> None:
        self._tree = tree
        self._target = target
        self._around = around

    def send(self, message: Message) -> str:
        """Send, and return where it went."""
        name = self._around.on_call(self._target.schedule) or self._target.fallback
        to = sender_of(self._tree, self._tree.receivers[name], self._around).send(message)
        return f"{name}: {to}"


def sender_of(tree: Tree, receiver: Receiver, around: Surroundings) -> Sender:
    """The sender of a receiver."""
    match receiver.target:
        case Webhook() as target:
            return WebhookSender(
                target, secrets=around.secrets, addresses=around.addresses, links=around.links
            )
        case Apprise() as target:
            return AppriseSender(
                target,
                secrets=around.secrets,
                templates=Templates(around.links, around.folder),
                form=receiver.format,
            )
        case OnCall() as target:
            return OnCallSender(tree, target, around)
