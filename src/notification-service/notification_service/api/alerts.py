"""Reading alerts: the list, one alert, its history."""

import datetime as dt
import hashlib
from functools import partial
from http import HTTPStatus
from uuid import UUID

import msgspec
from msgspec import Struct
from quart import Blueprint, request
from quart_schema import document_querystring, document_response

from auditflow.contract.alert import AlertDetail, AlertList, Counts, Status
from auditflow.contract.triage import History
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from notification_service import query
from notification_service.api.parameters import AlertParameters, HistoryParameters
from notification_service.api.requests import identifier, in_thread
from notification_service.cursor import Cursors
from notification_service.database.alert_reader import HISTORY_PAGE, AlertReader, Page
from notification_service.triage import allowed_actions


def add(routes: Blueprint, reader: AlertReader, cursors: Cursors, *, with_counts: bool) -> None:
    """Add the routes. ``with_counts`` adds counts to the list, for clients of the previous API."""

    @routes.get("/alerts")
    @document_querystring(AlertParameters)
    @document_response(AlertList)
    @document_problems(400, 401, 503)
    async def list_alerts() -> Answer:
        """List alerts.

        The order is that of `sort`, by default the last activity first. Follow `next_cursor` for
        the next page. A list has an ETag. Send it in `If-None-Match` to get the status 304
        without a body if the list has not changed.
        """
        criteria = query.parse(request.args.items(multi=True), cursors)
        page = await in_thread(partial(reader.page, criteria))
        counts = await in_thread(partial(reader.counts, criteria)) if with_counts else None
        body = encode_list(page, cursors, counts)
        etag = etag_of(body)
        if has_version(request.headers.get("If-None-Match"), etag):
            return ok(b"", status=HTTPStatus.NOT_MODIFIED, ETag=etag)
        return ok(body, ETag=etag)

    @routes.get("/alerts/<alert_id>")
    @document_response(AlertDetail)
    @document_problems(401, 404, 503)
    async def get_alert(alert_id: str) -> Answer:
        """Show one alert.

        With the newest 50 of its findings, and their events.
        """
        parsed = identifier(alert_id)
        found = await in_thread(partial(reader.detail, parsed)) if parsed else None
        if found is None:
            return not_found()
        body, version = encode_detail(found)
        return ok(body, ETag=f'"{version}"')


def add_history(routes: Blueprint, reader: AlertReader) -> None:
    """Add the route of an alert's history."""

    @routes.get("/alerts/<alert_id>/history")
    @document_querystring(HistoryParameters)
    @document_response(History)
    @document_problems(400, 401, 404, 503)
    async def get_history(alert_id: str) -> Answer:
        """List the actions on an alert.

        The newest first, 100 on a page.
        """
        before = query.parse_before(request.args.items(multi=True))
        parsed = identifier(alert_id)
        if parsed is None:
            return not_found()
        return ok(await in_thread(partial(history_page, reader, parsed, before)))


def history_page(reader: AlertReader, alert_id: UUID, before: int | None = None) -> History:
    """A page of the actions on an alert, the newest first.

    ``before`` is the number of the entry after which the page starts.
    """
    entries = reader.history(alert_id, before)
    more = len(entries) == HISTORY_PAGE
    return History(tuple(entries), entries[-1].number if more else None)


def not_found() -> Answer:
    """The answer for an alert that does not exist."""
    return problem(HTTPStatus.NOT_FOUND, "There is no alert with this identifier.")


def encode_list(page: Page, cursors: Cursors, counts: Counts | None) -> bytes:
    """An encoded ``AlertList``. The alerts are encoded already."""
    cursor = None if page.next is None else cursors.write(page.next)
    parts = [
        '{"alerts":[',
        ",".join(page.alerts),
        '],"next_cursor":',
        msgspec.json.encode(cursor).decode(),
    ]
    if counts is not None:
        parts += [',"counts":', msgspec.json.encode(counts).decode()]
    return "".join([*parts, "}"]).encode()


def etag_of(body: bytes) -> str:
    """The ETag of a list. It changes whenever the list changes."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def has_version(if_none_match: str | None, etag: str) -> bool:
    """Whether a client has the version with this ETag already."""
    if not if_none_match:
        return False
    given = (value.strip().removeprefix("W/") for value in if_none_match.split(","))
    return any(value in (etag, "*") for value in given)


class _State(Struct):
    """The fields of an encoded alert that decide which actions are allowed."""

    status: Status
    snoozed_until: dt.datetime | None
    snoozed_until_escalation: bool
    triage_version: int


_decode_state = msgspec.json.Decoder(_State).decode


def encode_detail(found: str) -> tuple[bytes, int]:
    """An encoded ``AlertDetail`` with the allowed actions, and its ``triage_version``."""
    state = _decode_state(found)
    now = dt.datetime.now(dt.UTC)
    encoded = msgspec.json.encode(allowed_actions(state, now)).decode()
    return f'{found[:-1]},"allowed_actions":{encoded}}}'.encode(), state.triage_version
