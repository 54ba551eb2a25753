"""Client of the notification service's API, with the messages of ``auditflow.contract``."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import Raw, Struct

from auditflow.contract import access, statistics, triage
from auditflow.contract import alert as contract
from event_audit_dashboard.apis.client import ApiClient, Caller, segment

PAGE_SIZE: Final = 50


class RawPage(Struct, frozen=True):
    """A page of alerts. ``alerts`` are not decoded, so that unchanged rows come from a cache."""

    alerts: tuple[Raw, ...] = ()
    next_cursor: str | None = None


class ListedPage(Struct, frozen=True):
    """A page of alerts, and a digest that changes whenever an alert or their order changes."""

    alerts: tuple[Raw, ...]
    next_cursor: str | None
    version: str


class ShownAlert(Struct, frozen=True):
    """An alert, a digest that changes with it, and the correlation ids of its findings, sorted."""

    alert: contract.AlertDetail
    version: str
    correlation_ids: tuple[str, ...]


class NotificationService(ApiClient):
    """Client of the notification service. It is thread-safe."""

    def alerts(
        self, parameters: Mapping[str, str], caller: Caller, *, limit: int = PAGE_SIZE
    ) -> ListedPage:
        """One page of alerts."""
        query = {**parameters, "limit": str(limit)}
        return self.get_if_changed("/api/v1/alerts", caller, self._decode_page, query)

    def _decode_page(self, body: bytes) -> ListedPage:
        page = self.decode(body, RawPage)
        return ListedPage(page.alerts, page.next_cursor, _version(page.alerts))

    def decode_alert(self, content: bytes) -> contract.AlertSummary:
        """Decode an alert of a page.

        Raises:
            BadResponse: it violates the API contract.
        """
        return self.decode(content, contract.AlertSummary)

    def facets(self, parameters: Mapping[str, str], caller: Caller) -> contract.Facets:
        """Number of alerts by field, over the complete filter."""
        return self.get("/api/v1/alerts/facets", caller, contract.Facets, parameters)

    def total(self, parameters: Mapping[str, str], caller: Caller) -> contract.Total:
        """Number of alerts that match the filter."""
        return self.get("/api/v1/alerts/total", caller, contract.Total, parameters)

    def alert(self, alert_id: str, caller: Caller) -> contract.AlertDetail:
        """One alert with its newest findings."""
        return self.shown_alert(alert_id, caller).alert

    def shown_alert(self, alert_id: str, caller: Caller) -> ShownAlert:
        """One alert with its newest findings, and its version."""
        # The ETag of an alert changes with actions on it only, not with new findings.
        return self.get_if_changed(_alert(alert_id), caller, self._decode_shown, conditional=False)

    def _decode_shown(self, body: bytes) -> ShownAlert:
        alert = self.decode(body, contract.AlertDetail)
        ids = {finding.correlation_id for finding in alert.findings if finding.correlation_id}
        version = hashlib.blake2b(body, digest_size=16).hexdigest()
        return ShownAlert(alert, version, tuple(sorted(ids)))

    def events(self, alert_id: str, caller: Caller, *, cursor: str = "") -> contract.EventPage:
        """Events of an alert, the latest first, 100 on a page."""
        query = {"cursor": cursor} if cursor else None
        return self.get(f"{_alert(alert_id)}/events", caller, contract.EventPage, query)

    def event(self, alert_id: str, event_id: str, caller: Caller) -> bytes:
        """The complete record of an event, as JSON."""
        query = urlencode({"event_id": event_id})
        return self.send("GET", f"{_alert(alert_id)}/event?{query}", caller).body

    def history(self, alert_id: str, caller: Caller) -> triage.History:
        """The actions on an alert, the newest first."""
        return self.get(f"{_alert(alert_id)}/history", caller, triage.History)

    def act(
        self,
        alert_id: str,
        action: str,
        caller: Caller,
        *,
        version: int | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        """Perform an action on an alert. ``version`` detects a change by somebody else.

        Raises:
            Conflict: the state of the alert does not allow the action, or the version is outdated.
        """
        match = {"If-Match": "*" if version is None else f'"{version}"'}
        path = f"{_alert(alert_id)}/{action}"
        self.send("POST", path, caller, body=body or {}, headers=match)

    def act_on_selection(
        self, alert_ids: Sequence[str], action: str, caller: Caller, **fields: Any
    ) -> triage.BulkResult:
        """Perform an action on the selected alerts."""
        return self._bulk(caller, {"action": action, "alert_ids": list(alert_ids), **fields})

    def act_on_filter(
        self, parameters: Mapping[str, str], action: str, caller: Caller, **fields: Any
    ) -> triage.BulkResult:
        """Perform an action on all alerts that match the filter."""
        return self._bulk(caller, {"action": action, "filter": dict(parameters), **fields})

    def undo(self, alert_id: str, caller: Caller) -> None:
        """Undo the last action on an alert.

        Raises:
            Conflict: somebody has acted since.
        """
        self.send("POST", f"{_alert(alert_id)}/undo", caller, body={}, headers={"If-Match": "*"})

    def undo_bulk(self, bulk_id: str, caller: Caller) -> triage.BulkResult:
        """Undo a bulk action on all alerts on which nobody has acted since."""
        reply = self.send("POST", f"/api/v1/alerts/bulk/{segment(bulk_id)}/undo", caller, body={})
        return self.decode(reply.body, triage.BulkResult)

    def risk(self, kind: str, value: str, caller: Caller) -> contract.Risk:
        """The risk of an entity, with its parts."""
        query = {"kind": kind, "value": value}
        return self.get("/api/v1/risk", caller, contract.Risk, query)

    def overview(self, caller: Caller) -> statistics.Overview:
        """Alerts by hour and day, the entities with the highest risk, and response times."""
        return self.get("/api/v1/overview", caller, statistics.Overview)

    def me(self, caller: Caller) -> access.Me:
        """The caller and its role."""
        return self.get("/api/v1/me", caller, access.Me)

    def put_user(self, name: str, role: access.Role) -> None:
        """Set the role of a person, on behalf of the dashboard itself."""
        caller = Caller(person=None, correlation_id="sign-in")
        path = f"/api/v1/users?{urlencode({'name': name})}"
        self.send("PUT", path, caller, body={"role": role, "disabled": False})

    def _bulk(self, caller: Caller, body: Mapping[str, Any]) -> triage.BulkResult:
        reply = self.send("POST", "/api/v1/alerts/bulk", caller, body=body)
        return self.decode(reply.body, triage.BulkResult)


def _version(alerts: Sequence[Raw]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for raw in alerts:
        digest.update(raw)
    return digest.hexdigest()


def _alert(alert_id: str) -> str:
    return f"/api/v1/alerts/{segment(alert_id)}"
