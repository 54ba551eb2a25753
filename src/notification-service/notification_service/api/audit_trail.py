"""The audit trail: what each person and token did."""

import datetime as dt
from collections.abc import Set
from functools import partial
from typing import Annotated, Final

from msgspec import Meta
from quart import Blueprint, g, request
from quart_schema import document_querystring, document_request, document_response

from auditflow.contract.access import Role
from auditflow.contract.audit import (
    MAX_TRAIL_TEXT,
    SEARCH_ACTIONS,
    AuditTrail,
    Outcome,
    ReportedAction,
    StoredReports,
    TrailReport,
    TrailReports,
)
from auditflow.http.api import Answer, ok
from auditflow.http.openapi import document_problems
from notification_service import query
from notification_service.api.audit_logs import require_auditor
from notification_service.api.callers import Caller, Forbidden, require
from notification_service.api.parameters import HistoryParameters
from notification_service.api.requests import body_of, in_thread
from notification_service.audit.trail import Record, Trail, clean
from notification_service.database.trail_store import PAGE, TrailFilter, TrailStore

_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TRAIL_TEXT, pattern="^[^\\x00]*$")]
_Time = Annotated[dt.datetime, Meta(tz=True)]
_STORE_SECONDS: Final = 2.0
#: What an API token may report. The others are actions of people that only the dashboard can see.
_OWN_ACTIONS: Final[frozenset[ReportedAction]] = frozenset(
    {"dlq listed", "dlq shown", "dlq replayed", "dlq deleted"}
)


class TrailParameters(HistoryParameters):
    """The parameters of the audit trail. All conditions must be true."""

    actor: Annotated[_Text | None, Meta(description="The name of a person or token.")] = None
    action: Annotated[_Text | None, Meta(description="For example `alert shown`.")] = None
    outcome: Outcome | None = None
    address: Annotated[_Text | None, Meta(description="The address of a client.")] = None
    target: Annotated[_Text | None, Meta(description="An identifier or a name.")] = None
    since: Annotated[_Time | None, Meta(description="At this time or later.")] = None
    until: Annotated[_Time | None, Meta(description="At this time or earlier.")] = None


def add(routes: Blueprint, store: TrailStore, trail: Trail) -> None:
    """Add the routes."""

    @routes.get("/audit")
    @document_querystring(TrailParameters)
    @document_response(AuditTrail)
    @document_problems(400, 401, 403, 503)
    async def list_audit_trail() -> Answer:
        """List what people and tokens did.

        The newest first, 100 on a page. The same read by the same person from the same address is
        listed once a minute. Unauthenticated requests are listed once a minute for an address.
        """
        require_auditor()
        criteria = query.parse_trail(request.args.items(multi=True), TrailFilter)
        entries = await in_thread(partial(store.page, criteria))
        more = len(entries) == PAGE
        return ok(AuditTrail(tuple(entries), entries[-1].number if more else None))

    @routes.post("/audit")
    @document_request(TrailReports)
    @document_response(StoredReports)
    @document_problems(400, 401, 403, 503)
    async def report_audit_trail() -> Answer:
        """Report what people did at another part of the platform.

        For example the sign-ins at the dashboard. Only the service token may do this. An API token
        with the scope admin may report its own actions on dead letters. The archive process reports
        the searches of its callers, each with the token of the caller.
        """
        caller: Caller = g.caller
        body = await body_of(request, TrailReports)
        _check_permission(caller, {report.action for report in body.reports})
        now = dt.datetime.now(dt.UTC)
        futures = [trail.record(_record(report, caller, now)) for report in body.reports]
        await in_thread(lambda: [future.result(_STORE_SECONDS) for future in futures])
        return ok(StoredReports(len(futures)))


def _check_permission(caller: Caller, actions: Set[str]) -> None:
    """Raise Forbidden if the caller may not report these actions."""
    if actions <= SEARCH_ACTIONS:
        require(caller, Role.VIEWER, "alerts:read")
        return
    require(caller, Role.ADMIN, "admin")
    if not caller.is_service and caller.actor.kind != "token":
        raise Forbidden("This requires a token, without a person.")
    if not caller.is_service and not actions <= _OWN_ACTIONS:
        raise Forbidden("An API token may report only its own actions.")


def _record(report: TrailReport, caller: Caller, at: dt.datetime) -> Record:
    """The row of a report. Nobody but the service itself can act in the name of another."""
    detail = {clean(key): clean(fact) for key, fact in report.detail.items()}
    if report.action in SEARCH_ACTIONS:
        return Record(
            at=at,
            actor=caller.actor.name,
            actor_kind=caller.actor.kind,
            action=report.action,
            outcome=report.outcome,
            address=clean(caller.address if caller.actor.kind == "person" else report.address),
            target=clean(report.target),
            detail=detail,
        )
    actor, address = clean(report.actor), clean(report.address)
    if not caller.is_service:
        detail |= {"account": actor, "host": address}
        actor, address = caller.actor.name, caller.address
    return Record(
        at=at,
        actor=actor,
        actor_kind="person" if caller.is_service else "token",
        action=report.action,
        outcome=report.outcome,
        address=address,
        target=clean(report.target),
        detail=detail,
    )
