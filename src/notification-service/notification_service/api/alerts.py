"""``/alerts``: the list and the detail."""

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct
from quart import Blueprint, request
from quart_schema import document_querystring, document_response, security_scheme

from auditflow.contract.alert import AlertDetail, AlertList
from auditflow.errors import Unavailable
from auditflow.http.problem import Problem
from auditflow.http.tokens import Tokens
from notification_service import query
from notification_service.api import views
from notification_service.api.faults import Answer, problem
from notification_service.api.parameters import AlertParameters
from notification_service.cursor import Cursors
from notification_service.database.reading import AlertReader

#: The end of patience with a server that hangs. One that is slow ends its statement before.
ANSWER_SECONDS: Final = 4.0
T = TypeVar("T")

_JSON: Final = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def blueprint(reader: AlertReader, cursors: Cursors, *, tokens: Tokens) -> Blueprint:
    """The routes, for clients that show a token."""
    routes = Blueprint("alerts", __name__)

    @routes.before_request
    async def authorise() -> Answer | None:
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and tokens.matches(shown.encode()):
            return None
        return problem(
            HTTPStatus.UNAUTHORIZED,
            "Show the API token: Authorization: Bearer <token>",
            WWW_Authenticate='Bearer realm="auditflow"',
        )

    @routes.get("/alerts")
    @document_querystring(AlertParameters)
    @document_response(AlertList)
    @document_response(Problem, 400)
    @document_response(Problem, 401)
    @document_response(Problem, 503)
    @security_scheme([{"token": []}])
    async def list_alerts() -> Answer:
        """List alerts.

        The latest opened first. Follow `next_cursor` for the next page: pages by cursor neither
        repeat nor miss an alert while new ones arrive. The counts cover the whole filter.
        """
        asked = query.parse(request.args.items(multi=True), cursors)
        page = await _read(partial(reader.page, asked))
        return _ok(views.listing(page, cursors))

    @routes.get("/alerts/<alert_id>")
    @document_response(AlertDetail)
    @document_response(Problem, 401)
    @document_response(Problem, 404)
    @document_response(Problem, 503)
    @security_scheme([{"token": []}])
    async def get_alert(alert_id: str) -> Answer:
        """Show one alert.

        With the newest 50 of its findings, and the events that they rest on.
        """
        identifier = _uuid(alert_id)
        found = await _read(partial(reader.detail, identifier)) if identifier else None
        if found is None:
            return problem(HTTPStatus.NOT_FOUND, "There is no alert with this identifier.")
        return _ok(views.detail(found))

    return routes


async def _read(question: Callable[[], T]) -> T:
    """Ask in a thread, and not for longer than a client should wait."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asyncio.to_thread(question)
    except TimeoutError:
        raise Unavailable("postgresql", f"no answer within {ANSWER_SECONDS:g} s") from None


def _ok(body: Struct) -> Answer:
    return msgspec.json.encode(body), HTTPStatus.OK, _JSON


def _uuid(text: str) -> UUID | None:
    # Only in the form that the API itself gives: one alert has one address.
    try:
        identifier = UUID(text)
    except ValueError:
        return None
    return identifier if str(identifier) == text.lower() else None
