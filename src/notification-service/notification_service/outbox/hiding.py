"""Which alerts must not be notified now, and why."""

import datetime as dt
from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from notification_service.alert import Alert
from notification_service.outbox.flusher import Hidden, Hiding


class HidingInTurn:
    """Several reasons to hide alerts. The first that applies is noted."""

    def __init__(self, reasons: Sequence[Hiding]) -> None:
        self._reasons = reasons

    def check(
        self, cursor: Cursor, alerts: Sequence[Alert], *, now: dt.datetime
    ) -> Mapping[UUID, Hidden]:
        """The alerts that are hidden, by identifier."""
        hidden: dict[UUID, Hidden] = {}
        for reason in self._reasons:
            rest = [alert for alert in alerts if alert.alert_id not in hidden]
            if rest:
                hidden |= reason.check(cursor, rest, now=now)
        return hidden
