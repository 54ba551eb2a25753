"""Client of the notification service's API, with the messages of ``auditflow.contract.alert``."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct
from opentelemetry.trace import SpanKind

from auditflow.contract import alert as contract
from auditflow.telemetry import logs, tracing
from event_audit_dashboard import errors
from event_audit_dashboard.metrics import Metrics
from event_audit_dashboard.transport import Reply, Transport

PAGE_SIZE: Final = 50
#: Name of the person on whose behalf the dashboard sends a request, for the audit trail.
PERSON_HEADER: Final = "X-AuditFlow-User"

_log = logs.get(__name__)
T = TypeVar("T")


class Caller(Struct, frozen=True):
    """The person and the request that cause an API call. ``None`` is the dashboard itself."""

    person: str | None
    correlation_id: str


class RawPage(Struct, frozen=True):
    """A page of alerts. ``alerts`` are not decoded, so that unchanged rows come from a cache."""

    alerts: tuple[Raw, ...] = ()
    next_cursor: str | None = None


class ProblemDocument(Struct, frozen=True):
    """The parts of a problem+json error that the dashboard shows."""

    title: str | None = None
    detail: str | None = None


_decode_problem = msgspec.json.Decoder(ProblemDocument).decode


class NotificationService:
    """Client of the notification service. It is thread-safe."""

    def __init__(self, transport: Transport, *, metrics: Metrics) -> None:
        self._transport = transport
        self._metrics = metrics

    def alerts(
        self, parameters: Mapping[str, str], caller: Caller, *, limit: int = PAGE_SIZE
    ) -> RawPage:
        """One page of alerts."""
        query = {**parameters, "limit": str(limit)}
        return self._get("/api/v1/alerts", caller, RawPage, query)

    def decode_alert(self, content: bytes) -> contract.AlertSummary:
        """Decode an alert of a page.

        Raises:
            BadResponse: it violates the API contract.
        """
        return self._decode(content, contract.AlertSummary)

    def facets(self, parameters: Mapping[str, str], caller: Caller) -> contract.Facets:
        """Number of alerts by field, over the complete filter."""
        return self._get("/api/v1/alerts/facets", caller, contract.Facets, parameters)

    def total(self, parameters: Mapping[str, str], caller: Caller) -> contract.Total:
        """Number of alerts that match the filter."""
        return self._get("/api/v1/alerts/total", caller, contract.Total, parameters)

    def alert(self, alert_id: str, caller: Caller) -> contract.AlertDetail:
        """One alert with its newest findings."""
        return self._get(_alert(alert_id), caller, contract.AlertDetail)

    def events(self, alert_id: str, caller: Caller, *, cursor: str = "") -> contract.EventPage:
        """Events of an alert, the latest first, 100 on a page."""
        query = {"cursor": cursor} if cursor else None
        return self._get(f"{_alert(alert_id)}/events", caller, contract.EventPage, query)

    def event(self, alert_id: str, event_id: str, caller: Caller) -> bytes:
        """The complete record of an event, as JSON."""
        query = urlencode({"event_id": event_id})
        return self._send("GET", f"{_alert(alert_id)}/event?{query}", caller).body

    def history(self, alert_id: str, caller: Caller) -> contract.History:
        """The actions on an alert, the newest first."""
        return self._get(f"{_alert(alert_id)}/history", caller, contract.History)

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
        self._send("POST", path, caller, body=body or {}, headers=match)

    def act_on_selection(
        self, alert_ids: Sequence[str], action: str, caller: Caller, **fields: Any
    ) -> contract.BulkResult:
        """Perform an action on the selected alerts."""
        return self._bulk(caller, {"action": action, "alert_ids": list(alert_ids), **fields})

    def act_on_filter(
        self, parameters: Mapping[str, str], action: str, caller: Caller, **fields: Any
    ) -> contract.BulkResult:
        """Perform an action on all alerts that match the filter."""
        return self._bulk(caller, {"action": action, "filter": dict(parameters), **fields})

    def undo(self, alert_id: str, caller: Caller) -> None:
        """Undo the last action on an alert.

        Raises:
            Conflict: somebody has acted since.
        """
        self._send("POST", f"{_alert(alert_id)}/undo", caller, body={}, headers={"If-Match": "*"})

    def undo_bulk(self, bulk_id: str, caller: Caller) -> contract.BulkResult:
        """Undo a bulk action on all alerts on which nobody has acted since."""
        reply = self._send("POST", f"/api/v1/alerts/bulk/{_segment(bulk_id)}/undo", caller, body={})
        return self._decode(reply.body, contract.BulkResult)

    def risk(self, kind: str, value: str, caller: Caller) -> contract.Risk:
        """The risk of an entity, with its parts."""
        query = {"kind": kind, "value": value}
        return self._get("/api/v1/risk", caller, contract.Risk, query)

    def me(self, caller: Caller) -> contract.Me:
        """The caller and its role."""
        return self._get("/api/v1/me", caller, contract.Me)

    def put_user(self, name: str, role: contract.Role) -> None:
        """Set the role of a person, on behalf of the dashboard itself."""
        caller = Caller(person=None, correlation_id="sign-in")
        path = f"/api/v1/users/{_segment(name)}"
        self._send("PUT", path, caller, body={"role": role, "disabled": False})

    def check(self) -> str | None:
        """Return None if the service is alive, otherwise the problem. Used by ``/readyz``.

        It checks the service, not its database. During an outage of the database, users still
        reach the dashboard, which reports the outage.
        """
        try:
            reply = self._transport.send("GET", "/healthz", timeout=0.8)
        except errors.ApiError as error:
            return str(error)
        return None if reply.status == 200 else f"status {reply.status}"

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def _bulk(self, caller: Caller, body: Mapping[str, Any]) -> contract.BulkResult:
        reply = self._send("POST", "/api/v1/alerts/bulk", caller, body=body)
        return self._decode(reply.body, contract.BulkResult)

    def _get(
        self, path: str, caller: Caller, kind: type[T], query: Mapping[str, str] | None = None
    ) -> T:
        target = f"{path}?{urlencode(query)}" if query else path
        return self._decode(self._send("GET", target, caller).body, kind)

    def _send(
        self,
        method: str,
        target: str,
        caller: Caller,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        content = None if body is None else msgspec.json.encode(body)
        with tracing.span("request notification-service", kind=SpanKind.CLIENT):
            sent = {
                **tracing.headers(),
                **(headers or {}),
                "X-Correlation-ID": caller.correlation_id,
            }
            if caller.person is not None:
                sent[PERSON_HEADER] = quote(caller.person, safe=" @")
            if content is not None:
                sent["Content-Type"] = "application/json"
            try:
                reply = self._transport.send(method, target, headers=sent, body=content)
                _raise_for(reply)
            except errors.ApiError as error:
                self._metrics.upstream_errors.labels(error.reason).inc()
                raise
            return reply

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _log.error("response violates the API contract", kind=kind.__name__, detail=str(error))
            self._metrics.upstream_errors.labels(errors.BadResponse.reason).inc()
            raise errors.BadResponse(
                "the response of the notification service violates the API contract"
            ) from None


def _segment(value: str) -> str:
    return quote(value, safe="")


def _alert(alert_id: str) -> str:
    return f"/api/v1/alerts/{_segment(alert_id)}"


def _raise_for(reply: Reply) -> None:
    match reply.status:
        case 200 | 201 | 202 | 204:
            return
        case 400 | 413 | 414 | 422 | 428:
            raise errors.FilterRejected(_detail(reply) or "the API rejected the request")
        case 401:
            raise errors.TokenRejected(
                "the notification service does not accept this dashboard's token (API_TOKEN)"
            )
        case 403:
            raise errors.NotAllowed(_detail(reply) or "your role does not permit this action")
        case 404:
            raise errors.NotFound(_detail(reply) or "it does not exist")
        case 409 | 412:
            raise errors.Conflict(_detail(reply) or "somebody has changed the alert")
        case 429 | 502 | 503 | 504:
            raise errors.NotReady(
                "the notification service is running, but it cannot read the alerts"
            )
        case status:
            raise errors.BadResponse(f"the notification service failed with status {status}")


def _detail(reply: Reply) -> str | None:
    try:
        problem = _decode_problem(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return problem.detail or problem.title
