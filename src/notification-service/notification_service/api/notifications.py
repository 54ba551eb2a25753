"""Notifications: the list, one of them, retries and tests."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, get_args
from uuid import UUID

from msgspec import Meta, Struct
from quart import Blueprint, g, request
from quart_schema import document_querystring, document_request, document_response

from auditflow.contract.access import Role
from auditflow.contract.notification import (
    DeliveryStatus,
    NotificationDetail,
    NotificationList,
    RetryRequest,
    SendTestRequest,
)
from auditflow.http import query_parameters
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from auditflow.http.query_parameters import InvalidValue
from notification_service.api import trail_recording
from notification_service.api.callers import require
from notification_service.api.requests import InvalidBody, body_of, identifier, in_thread
from notification_service.outbox.reading import NotDead, NotificationReader
from notification_service.routing.tree_file import TreeFile

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
SILENCE_STATES: Final = ("pending", "active", "ended")
_STATUSES: Final = get_args(DeliveryStatus)


class PageParameters(Struct):
    """Which page of a list."""

    after: Annotated[UUID, Meta(description="The `next_after` of the page before.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class NotificationParameters(PageParameters):
    """The parameters that select notifications."""

    status: Annotated[str, Meta(pattern=f"^({'|'.join(_STATUSES)})$")] | None = None
    receiver: Annotated[str, Meta(min_length=1, max_length=63, pattern="^[^\\x00]+$")] | None = None
    alert_id: Annotated[UUID, Meta(description="Only notifications about this alert.")] | None = (
        None
    )


def add(routes: Blueprint, reader: NotificationReader, file: TreeFile) -> None:
    """Add the routes."""
    _add_reads(routes, reader)

    @routes.post("/notifications/<notification_id>/retry")
    @document_request(RetryRequest)
    @document_response(NotificationDetail)
    @document_problems(400, 401, 403, 404, 409, 503)
    async def retry_notification(notification_id: str) -> Answer:
        """Deliver a dead notification again.

        It gets as many attempts as a new one. 409: the notification is not dead.
        """
        require(g.caller, Role.ANALYST, "alerts:write")
        await body_of(request, RetryRequest)
        parsed = identifier(notification_id)
        try:
            found = await in_thread(partial(reader.retry, parsed)) if parsed else None
        except NotDead as error:
            return problem(HTTPStatus.CONFLICT, str(error))
        return ok(found) if found else _not_found()

    @routes.post("/notifications/test")
    @document_request(SendTestRequest)
    @document_response(NotificationDetail)
    @document_problems(400, 401, 403, 503)
    async def send_test_notification() -> Answer:
        """Send a test notification to a receiver.

        The answer is the queued notification. Read it again to see whether it was delivered.
        """
        require(g.caller, Role.ANALYST, "alerts:write")
        body = await body_of(request, SendTestRequest)
        if body.receiver not in file.tree.receivers:
            known = ", ".join(sorted(file.tree.receivers)) or "none"
            raise InvalidBody.at("receiver", f"there is no such receiver; there are: {known}")
        trail_recording.add_detail(receiver=body.receiver)
        found = await in_thread(partial(reader.add_test, body.receiver))
        return ok(found) if found else _not_found()


def _add_reads(routes: Blueprint, reader: NotificationReader) -> None:
    @routes.get("/notifications")
    @document_querystring(NotificationParameters)
    @document_response(NotificationList)
    @document_problems(400, 401, 503)
    async def list_notifications() -> Answer:
        """List notifications, the newest first."""
        criteria = parameters("status", "receiver", "alert_id", "after", "limit")
        page = partial(
            reader.page,
            status=criteria.get("status"),
            receiver=criteria.get("receiver"),
            alert=criteria.get("alert_id"),
            after=criteria.get("after"),
            limit=criteria.get("limit", DEFAULT_LIMIT),
        )
        return ok(await in_thread(page))

    @routes.get("/notifications/<notification_id>")
    @document_response(NotificationDetail)
    @document_problems(401, 404, 503)
    async def get_notification(notification_id: str) -> Answer:
        """Show one notification with its alerts."""
        parsed = identifier(notification_id)
        found = await in_thread(partial(reader.detail, parsed)) if parsed else None
        return ok(found) if found else _not_found()


def _not_found() -> Answer:
    return problem(HTTPStatus.NOT_FOUND, "There is no notification with this identifier.")


def parameters(*allowed: str) -> dict[str, Any]:
    """The query parameters of the request.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated or wrong.
    """
    readers = {name: _READERS[name] for name in allowed}
    return query_parameters.parse(request.args.items(multi=True), readers)


def _uuid(text: str) -> UUID:
    parsed = identifier(text)
    if parsed is None:
        raise InvalidValue("must be an identifier of this API")
    return parsed


_READERS: Final = {
    "state": query_parameters.member_of(SILENCE_STATES),
    "limit": query_parameters.integer(1, MAX_LIMIT),
    "after": _uuid,
    "alert_id": _uuid,
    "status": query_parameters.member_of(_STATUSES),
    "receiver": query_parameters.text(63),
}
