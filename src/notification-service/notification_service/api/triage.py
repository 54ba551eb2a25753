"""Actions on alerts: on one alert, on many alerts, and their undo."""

from functools import partial
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from quart import Blueprint, g, request
from quart_schema import (
    document_headers,
    document_request,
    document_response,
)

from auditflow.contract.access import Role
from auditflow.contract.alert import Action, AlertSummary
from auditflow.contract.triage import (
    AcknowledgeRequest,
    AssignRequest,
    BulkRequest,
    BulkResult,
    CommentRequest,
    ReopenRequest,
    ResolveRequest,
    SnoozeRequest,
    TransitionProblem,
    UnsnoozeRequest,
)
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from notification_service import query
from notification_service.api import trail_recording
from notification_service.api.alerts import not_found
from notification_service.api.callers import Caller, require
from notification_service.api.parameters import ChangeHeaders
from notification_service.api.requests import (
    InvalidBody,
    body_of,
    expected_version,
    identifier,
    in_thread,
)
from notification_service.database.alert_reader import AlertReader
from notification_service.database.triage_store import TriageStore
from notification_service.triage import Command

#: The actions, the body of each, and a sentence for the document.
_ACTIONS: Final[tuple[tuple[Action, type[Struct], str], ...]] = (
    (Action.ACKNOWLEDGE, AcknowledgeRequest, "Acknowledge an open alert."),
    (Action.ASSIGN, AssignRequest, "Assign an alert to a person, or to nobody."),
    (Action.COMMENT, CommentRequest, "Comment on an alert."),
    (Action.RESOLVE, ResolveRequest, "Resolve an alert with a verdict, or change its verdict."),
    (Action.REOPEN, ReopenRequest, "Reopen an acknowledged or resolved alert."),
    (Action.SNOOZE, SnoozeRequest, "Snooze an alert until a time or until it escalates."),
    (Action.UNSNOOZE, UnsnoozeRequest, "End the snooze of an alert."),
)


class UndoRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Undo the last action. The body may be empty."""


def add(routes: Blueprint, store: TriageStore, reader: AlertReader) -> None:
    """Add the routes that change alerts."""
    for action, model, summary in _ACTIONS:
        _add_action(routes, store, reader, action=action, model=model, summary=summary)
    _add_action(
        routes,
        store,
        reader,
        action=Action.UNDO,
        model=UndoRequest,
        summary="Undo the last action on an alert. Any action since then makes it impossible.",
    )
    _add_bulk(routes, store)


def _add_action(
    routes: Blueprint,
    store: TriageStore,
    reader: AlertReader,
    *,
    action: Action,
    model: type[Struct],
    summary: str,
) -> None:
    async def act(alert_id: str) -> Answer:
        caller: Caller = g.caller
        require(caller, Role.ANALYST, "alerts:write")
        body = await body_of(request, model)
        version = expected_version(request)
        parsed = identifier(alert_id)
        if parsed is None:
            return not_found()
        command = Command(action=action, **msgspec.structs.asdict(body))
        await in_thread(
            partial(store.act, parsed, command, actor=caller.actor, expected_version=version)
        )
        return await _summary(reader, parsed)

    act.__name__ = act.__qualname__ = f"{action}_alert"
    act.__doc__ = f"{summary}\n\nThe answer is the alert after the action."
    view: Any = document_problems(400, 401, 403, 404, 412, 428, 503)(act)
    view = document_response(AlertSummary)(view)
    view = document_response(TransitionProblem, 409)(view)
    view = document_request(model)(view)
    view = document_headers(ChangeHeaders)(view)
    routes.post(f"/alerts/<alert_id>/{action}")(view)


async def _summary(reader: AlertReader, alert_id: UUID) -> Answer:
    found = await in_thread(partial(reader.summary, alert_id))
    if found is None:
        return not_found()
    text, version = found
    return ok(text.encode(), ETag=f'"{version}"')


def _add_bulk(routes: Blueprint, store: TriageStore) -> None:
    @routes.post("/alerts/bulk")
    @document_request(BulkRequest)
    @document_response(BulkResult)
    @document_problems(400, 401, 403, 503)
    async def act_on_many() -> Answer:
        """Apply one action to many alerts.

        To a selection (`alert_ids`) or to all alerts that match a `filter`. Alerts whose state does
        not allow the action are counted as failed. A filter changes at most 10,000 alerts at a
        time: if the result has `more`, repeat the request with its `bulk_id`.
        """
        caller: Caller = g.caller
        require(caller, Role.ANALYST, "alerts:write")
        body = await body_of(request, BulkRequest)
        if bool(body.alert_ids) == (body.filter is not None):
            raise InvalidBody("Give exactly one of alert_ids and filter.")
        trail_recording.add_detail(action=body.action)
        command = Command(
            action=Action(body.action),
            comment=body.comment,
            assignee=body.assignee,
            verdict=body.verdict,
            duplicate_of=body.duplicate_of,
            until=body.until,
            until_escalation=body.until_escalation,
        )
        if body.filter is None:
            change = partial(store.act_on_selection, body.alert_ids, command, actor=caller.actor)
        else:
            change = partial(
                store.act_on_filter,
                query.parse_filter(body.filter.items()),
                command,
                actor=caller.actor,
                bulk_id=body.bulk_id,
            )
        return ok(await in_thread(change, seconds=None))

    @routes.post("/alerts/bulk/<bulk_id>/undo")
    @document_response(BulkResult)
    @document_problems(401, 403, 404, 503)
    async def undo_bulk(bulk_id: str) -> Answer:
        """Undo a bulk action.

        Alerts that somebody has acted on since then keep their state and are counted as failed.
        """
        caller: Caller = g.caller
        require(caller, Role.ANALYST, "alerts:write")
        parsed = identifier(bulk_id)
        if parsed is None:
            return problem(HTTPStatus.NOT_FOUND, "There is no bulk action with this identifier.")
        change = partial(store.undo_bulk, parsed, actor=caller.actor)
        return ok(await in_thread(change, seconds=None))
