"""The ledger of the archive, shared by all users for a few seconds."""

from typing import Final

from msgspec import Struct

from auditflow.contract.ledger_report import LedgerReport, LedgerState
from event_audit_dashboard.api_client import Caller
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import ApiError, NotFound
from event_audit_dashboard.events_api import EventsApi
from event_audit_dashboard.presentation.text import shorten

#: All users share the ledger for this time, in seconds.
SHARED_SECONDS: Final = 10.0
#: The states in words, and whether they are a problem.
STATES: Final = {
    LedgerState.BALANCED: ("Balanced: all accepted events are archived", False),
    LedgerState.WAITING: ("Some accepted events are not archived yet", False),
    LedgerState.DIFFERENT: ("Events are missing or altered", True),
}


class Ledger(Struct, frozen=True):
    """The ledger of the last day, or why it cannot be shown."""

    report: LedgerReport | None = None
    problem: str = ""


class Ledgers:
    """Reads the ledger. ``events`` is None without an archive. It is thread-safe."""

    def __init__(self, events: EventsApi | None) -> None:
        self._events = events
        self._shared: TimedCache[Ledger] = TimedCache(seconds=SHARED_SECONDS)

    def read(self, caller: Caller) -> Ledger:
        """The ledger. Pages also work without it, so a failure is a text."""
        return self._shared.get("", lambda: self._read(caller))

    def _read(self, caller: Caller) -> Ledger:
        if self._events is None:
            return Ledger(problem="No archive of events is configured, so there is no ledger.")
        try:
            return Ledger(self._events.ledger(caller))
        except NotFound:
            return Ledger(problem="The archive of events has no ledger.")
        except ApiError as error:
            return Ledger(problem=f"The ledger cannot be read: {shorten(str(error), 200)}.")
