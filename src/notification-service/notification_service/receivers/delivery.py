"""The common parts of all kinds of receivers."""

import datetime as dt
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from auditflow.errors import AuditFlowError
from notification_service.outbox.content import Content


class DeliveryError(AuditFlowError):
    """An attempt to deliver failed. The text never contains a secret.

    ``permanent``: the same notification would fail again.
    ``retry_after``: how long the receiver asks to wait.
    ``delivered``: the targets of the receiver that the attempt reached before it failed.
    """

    def __init__(
        self,
        why: str,
        *,
        permanent: bool = False,
        retry_after: dt.timedelta | None = None,
        delivered: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(why)
        self.permanent = permanent
        self.retry_after = retry_after
        self.delivered = delivered


class Message(Struct, frozen=True, kw_only=True):
    """A notification on its way. Every attempt has the same identifier and content.

    ``delivered`` are the targets that earlier attempts reached, as ``DeliveryError`` named them.
    """

    notification_id: UUID
    receiver: str
    content: Content
    created_at: dt.datetime
    delivered: frozenset[str] = frozenset()


class Sender(Protocol):
    """Delivers to one receiver."""

    def send(self, message: Message) -> str:
        """Deliver, and return where it went, in words without secrets.

        Raises:
            DeliveryError: it was not delivered, or it is not known whether it was.
        """
        ...
