"""Reports hosts that are silent for longer than usual: as events, which a shipped rule matches.

The identifier of an event is computed from the host and its last event. So a report that is sent
again is the same event.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

from audit_analysis.ledger.sender_store import KnownSender, SenderStore
from audit_analysis.ledger.senders import EVENT_TYPE
from auditflow.amqp import Message, topology
from auditflow.contract import acceptance, event, identity
from auditflow.contract.event import Event, LogSource, Severity
from auditflow.contract.ledger_report import LedgerSender, LedgerSenders
from auditflow.errors import Unavailable
from auditflow.telemetry import logs

SERVICE: Final = "audit-event-archive"
_LOG_SOURCE: Final = LogSource(product="auditflow", service="ledger", category="application")
_CONFIRM_SECONDS: Final = 10.0
#: Maximum number of hosts that are reported at once.
_MAX_REPORTS: Final = 500

log = logs.get(__name__)


class SilenceReporter:
    """Reports silent hosts. One thread uses it."""

    def __init__(
        self,
        store: SenderStore,
        publish: Callable[[Sequence[Message], float], None],
        *,
        minimum_ms: int,
    ) -> None:
        """``publish`` waits for the confirms, up to a number of seconds."""
        self._store = store
        self._publish = publish
        self._minimum_ms = minimum_ms

    def run(self, now: dt.datetime) -> None:
        """Report hosts that became silent. A report that fails is repeated by the next run."""
        try:
            senders = self._store.read()
            silent = [
                item
                for item in senders.known
                if item.reported_ms != item.sender.last_ms
                and item.sender.is_silent(senders.now_ms, minimum_ms=self._minimum_ms)
            ][:_MAX_REPORTS]
            if silent:
                self._publish(
                    [_message(item, senders.now_ms, now) for item in silent], _CONFIRM_SECONDS
                )
                self._store.set_reported(silent)
                log.info("silent hosts reported", hosts=len(silent))
            self._store.forget(now_ms=senders.now_ms)
        except Unavailable as error:
            log.warning("silent hosts cannot be reported", error=str(error))


def report(store: SenderStore, *, minimum_ms: int) -> LedgerSenders:
    """All hosts: silent ones first, then by the time of their last event.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    senders = store.read()
    found = [
        LedgerSender(
            source=item.key.source,
            host=item.key.host,
            last_seen=event.from_epoch_ms(item.sender.last_ms),
            silent_seconds=(senders.now_ms - item.sender.last_ms) // 1000,
            usual_seconds=item.sender.usual_ms // 1000,
            silent=item.sender.is_silent(senders.now_ms, minimum_ms=minimum_ms),
        )
        for item in senders.known
    ]
    return LedgerSenders(tuple(sorted(found, key=lambda sender: not sender.silent)))


def to_event(item: KnownSender, now_ms: int, now: dt.datetime) -> Event:
    """The event of a silent host."""
    key, sender = item.key, item.sender
    name = f"{EVENT_TYPE} {key.source} {key.host} {sender.last_ms}"
    return Event(
        event_id=identity.record_id(name.encode()),
        timestamp=now,
        event_type=EVENT_TYPE,
        source_service=SERVICE,
        server_hostname=key.host,
        severity=Severity.WARNING,
        action_result="FAILURE",
        resource=key.source,
        details={
            "silent_minutes": (now_ms - sender.last_ms) // 60_000,
            "usual_minutes": sender.usual_ms // 60_000,
            "last_seen": event.from_epoch_ms(sender.last_ms).isoformat(),
        },
        logsource=_LOG_SOURCE,
    )


def _message(item: KnownSender, now_ms: int, now: dt.datetime) -> Message:
    reported = to_event(item, now_ms, now)
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=topology.LEDGER_KEY,
        body=event.encode(reported),
        message_id=reported.event_id,
        headers=acceptance.new_header(),
    )
