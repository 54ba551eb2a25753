"""The ledger of the archive, shared by all users for a few seconds."""

from typing import Final

from msgspec import Struct

from auditflow.contract.ledger_report import LedgerReport, LedgerState
from event_audit_dashboard.apis.client import Caller
from event_audit_dashboard.apis.events import EventsApi
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import ApiError, NotFound, TranslatedError
from event_audit_dashboard.localization.translation import N_, gettext

#: All users share the ledger for this time, in seconds.
SHARED_SECONDS: Final = 10.0


class State(Struct, frozen=True):
    """A state in one word and as a sentence, and whether it is a problem."""

    label: str
    description: str
    is_bad: bool

    @property
    def word(self) -> str:
        """The word in the current language."""
        return gettext(self.label)

    @property
    def sentence(self) -> str:
        """The sentence in the current language."""
        return gettext(self.description)


STATES: Final = {
    LedgerState.BALANCED: State(
        N_("Balanced"), N_("All accepted events are archived."), is_bad=False
    ),
    LedgerState.WAITING: State(
        N_("Events wait"),
        N_("Some accepted events are not archived yet."),
        is_bad=False,
    ),
    LedgerState.DIFFERENT: State(
        N_("Differences"), N_("Events are missing or altered."), is_bad=True
    ),
}


_NO_ARCHIVE: Final = NotFound(N_("No archive of events is configured, so there is no ledger."))
_NO_LEDGER: Final = NotFound(N_("The archive of events has no ledger."))


class Ledger(Struct, frozen=True):
    """The ledger of the last day, or why it cannot be shown."""

    report: LedgerReport | None = None
    problem: TranslatedError | None = None


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
            return Ledger(problem=_NO_ARCHIVE)
        try:
            return Ledger(self._events.ledger(caller))
        except NotFound:
            return Ledger(problem=_NO_LEDGER)
        except ApiError as error:
            return Ledger(
                problem=ApiError(N_("The ledger cannot be read: %(reason)s"), reason=error)
            )
