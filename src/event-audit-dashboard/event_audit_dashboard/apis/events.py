"""Client of the API of archived events."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from auditflow.contract import event_search as contract
from auditflow.contract.ledger_report import LedgerReport
from event_audit_dashboard.apis.client import ApiClient, Caller
from event_audit_dashboard.apis.transport import Service
from event_audit_dashboard.localization.translation import N_

EVENTS: Final = Service(N_("the archive of events"), "audit-event-archive", N_("the events"))
#: A search may read many files. Limit for its response, in seconds.
SEARCH_SECONDS: Final = 15.0
PAGE_SIZE: Final = 50


class EventsApi:
    """Searches archived events. It is thread-safe."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def page(self, parameters: Mapping[str, str], caller: Caller) -> contract.ArchivedEventList:
        """Events that match, the newest first."""
        query = {**parameters, "limit": str(PAGE_SIZE)}
        return self._client.get(
            contract.PATH, caller, contract.ArchivedEventList, query, timeout=SEARCH_SECONDS
        )

    def of_identifiers(
        self, event_ids: Sequence[str], caller: Caller, *, since: dt.datetime, until: dt.datetime
    ) -> tuple[contract.ArchivedEventSummary, ...]:
        """The events with some identifiers, up to ``MAX_EVENT_IDS``, in a range of times.

        An identifier can have several events.
        """
        query = [
            ("since", since.isoformat()),
            ("until", until.isoformat()),
            ("limit", str(5 * contract.MAX_EVENT_IDS)),
            *(("event_id", event_id) for event_id in event_ids),
        ]
        found = self._client.get(
            f"{contract.PATH}?{urlencode(query)}",
            caller,
            contract.ArchivedEventList,
            timeout=SEARCH_SECONDS,
        )
        return found.events

    def histogram(self, parameters: Mapping[str, str], caller: Caller) -> contract.EventHistogram:
        """The number of events over time."""
        return self._client.get(
            f"{contract.PATH}/histogram",
            caller,
            contract.EventHistogram,
            parameters,
            timeout=SEARCH_SECONDS,
        )

    def facets(self, parameters: Mapping[str, str], caller: Caller) -> contract.EventFacets:
        """The most frequent values of some fields."""
        return self._client.get(
            f"{contract.PATH}/facets",
            caller,
            contract.EventFacets,
            parameters,
            timeout=SEARCH_SECONDS,
        )

    def event(self, event_id: str, caller: Caller) -> contract.ArchivedEventDetail:
        """One event with its record.

        Raises:
            NotFound: the archive has no such event.
        """
        path, query = f"{contract.PATH}/by-id", {"event_id": event_id}
        return self._client.get(
            path, caller, contract.ArchivedEventDetail, query, timeout=SEARCH_SECONDS
        )

    def ledger(self, caller: Caller) -> LedgerReport:
        """The accepted and archived events of the last day, by hour and source.

        Raises:
            NotFound: the archive has no ledger.
        """
        return self._client.get("/api/v1/ledger", caller, LedgerReport, timeout=SEARCH_SECONDS)

    def export(self, parameters: Mapping[str, str], caller: Caller) -> Iterator[bytes]:
        """All events that match with their records, as NDJSON, in parts."""
        return self._client.stream(f"{contract.PATH}/export?{urlencode(parameters)}", caller)
