"""Records each request of a person or a token in the audit trail."""

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from quart import Blueprint, Request, Response, g, request

from auditflow.contract.audit import Outcome
from auditflow.errors import Unavailable
from auditflow.http import middleware
from auditflow.telemetry import logs
from notification_service.api.callers import Caller
from notification_service.audit.trail import Record, Trail, clean

#: What each route does. A test checks that every route is here or in NOT_RECORDED.
ACTIONS: Final[Mapping[str, str]] = {
    "list_users": "users listed",
    "put_user": "role set",
    "put_named_user": "role set",
    "list_tokens": "tokens listed",
    "issue_token": "token created",
    "revoke_token": "token revoked",
    "list_alerts": "search made",
    "get_alert": "alert shown",
    "get_history": "history shown",
    "get_risk": "risk shown",
    "list_events": "events shown",
    "get_event": "event shown",
    "list_changes": "changes read",
    "stream_changes": "stream opened",
    "export_all": "alerts exported",
    "acknowledge_alert": "alert acknowledged",
    "assign_alert": "alert assigned",
    "comment_alert": "alert commented",
    "resolve_alert": "alert resolved",
    "reopen_alert": "alert reopened",
    "snooze_alert": "alert snoozed",
    "unsnooze_alert": "alert unsnoozed",
    "undo_alert": "action undone",
    "act_on_many": "bulk action made",
    "undo_bulk": "bulk action undone",
    "retry_notification": "notification retried",
    "send_test_notification": "test notification sent",
    "list_notifications": "notifications listed",
    "get_overview": "overview shown",
    "get_rule_statistics": "rule statistics shown",
    "get_notification": "notification shown",
    "get_routes": "routes shown",
    "resolve_labels": "route resolved",
    "get_alert_route": "route shown",
    "get_on_call": "on-call shown",
    "preview_silence": "silence previewed",
    "list_silences": "silences listed",
    "get_silence": "silence shown",
    "list_silenced_alerts": "silenced alerts shown",
    "create_silence": "silence created",
    "end_silence": "silence ended",
    "silence_alert": "alert silenced",
    "put_maintenance_window": "maintenance window set",
    "list_audit_logs": "audit logs listed",
    "get_audit_checkpoint": "audit log read",
    "get_audit_tile": "audit log read",
    "get_audit_entry": "audit entry shown",
    "get_audit_consistency": "audit log read",
    "list_finding_documents": "finding documents read",
    "list_audit_trail": "audit trail read",
    "save_view": "view saved",
    "delete_view": "view deleted",
    "enable_second_factor": "second factor enabled",
    "use_second_factor_step": "code used",
    "use_recovery_code": "recovery code used",
    "delete_second_factor": "second factor deleted",
    "get_queues": "queues shown",
    "list_dead_letters": "dead letters listed",
    "get_dead_letter": "dead letter shown",
    "replay_dead_letters": "dead letters replayed",
    "discard_dead_letters": "dead letters discarded",
}
#: Routes that a client reads along with another route, or that record something themselves.
NOT_RECORDED: Final = frozenset(
    {
        "get_me", "get_total", "get_facets", "list_views", "get_second_factor",
        "report_audit_trail",
    }
)  # fmt: skip

#: Parameters that are the position in a list.
_PAGING: Final = frozenset({"after", "before", "cursor", "offset", "limit"})
_STORE_SECONDS: Final = 2.0
#: Routes whose target repeats for each part of one read.
_WITHOUT_TARGET: Final = frozenset(
    {"get_audit_tile", "get_audit_checkpoint", "list_finding_documents"}
)

log = logs.get(__name__)


def add(routes: Blueprint, trail: Trail) -> None:
    """Record the requests to all routes of a blueprint."""

    @routes.after_request
    async def record(response: Response) -> Response:
        name = str(request.endpoint).rpartition(".")[2]
        if name in NOT_RECORDED or response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            return response
        caller: Caller | None = g.get("caller")
        made = _record(request, name, caller, response.status_code)
        if request.method == "GET" or caller is None:
            trail.record_read(made)
            return response
        future = trail.record(made)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:  # the database cannot write
            return response
        stored = asyncio.wrap_future(future)
        try:
            await asyncio.wait_for(asyncio.shield(stored), _STORE_SECONDS)
        except (TimeoutError, Unavailable):  # the action is done, and the record waits
            log.warning("audit trail is late", action=made.action)
        return response


def add_detail(**facts: str) -> None:
    """Add facts about the current request to its record."""
    g.setdefault("trail_detail", {}).update({name: clean(fact) for name, fact in facts.items()})


def _record(recorded_request: Request, name: str, caller: Caller | None, status: int) -> Record:
    if caller is None:  # the same for all routes, so that a scan does not fill the trail
        return Record(
            at=dt.datetime.now(dt.UTC),
            actor="",
            actor_kind="unknown",
            action="request without a valid token",
            outcome="refused",
            address=clean(recorded_request.remote_addr or ""),
            status=status,
        )
    return record_of(
        name,
        caller,
        status,
        parameters=recorded_request.args.items(),
        targets=() if name in _WITHOUT_TARGET else (recorded_request.view_args or {}).values(),
        correlation_id=correlation_id(recorded_request.scope),
        detail=g.get("trail_detail", {}),
    )


def record_of(
    name: str,
    caller: Caller,
    status: int,
    *,
    parameters: Iterable[tuple[str, str]],
    targets: Iterable[object],
    correlation_id: str,
    detail: Mapping[str, str] = {},
) -> Record:
    """The record of a request to the route with the function ``name``."""
    shown = {clean(key): clean(value) for key, value in parameters if key not in _PAGING}
    return Record(
        at=dt.datetime.now(dt.UTC),
        actor=caller.actor.name,
        actor_kind=caller.actor.kind,
        action=ACTIONS.get(name, name),
        outcome=_outcome(status),
        address=clean(caller.address),
        target=clean(" ".join(map(str, targets))),
        detail={**dict(list(shown.items())[:20]), **detail},
        status=status,
        correlation_id=correlation_id,
    )


def _outcome(status: int) -> Outcome:
    if status < HTTPStatus.BAD_REQUEST:
        return "done"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"


def correlation_id(scope: Any) -> str:
    """The correlation id of a request."""
    try:
        return middleware.correlation_id(scope)
    except KeyError:  # without the middleware, in tests
        return ""
