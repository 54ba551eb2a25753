"""Changes for polling clients, a live stream of changes, and exports."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from quart import Blueprint, Response, g, request
from quart_schema import document_headers, document_querystring, document_response

from auditflow.contract.alert import AlertChanges
from auditflow.errors import Unavailable
from auditflow.http.api import RETRY_AFTER, Answer, ok, problem
from auditflow.http.openapi import document_problems
from auditflow.telemetry import logs
from notification_service import export, query
from notification_service.api.caller_limit import CallerLimit, StreamBody
from notification_service.api.examples import EventStream, ExportFile
from notification_service.api.parameters import (
    ChangesParameters,
    ExportParameters,
    StreamHeaders,
)
from notification_service.api.requests import in_thread
from notification_service.database.alert_export import export_alerts
from notification_service.database.change_feed import (
    ChangeFeed,
    TooManyViewers,
    Viewer,
    read_changes,
)
from notification_service.database.pool import Pool

#: Streams and exports that one person or API token may receive from a replica at the same time. A
#: replica runs two exports.
STREAMS: Final = 16
EXPORTS: Final = 1
#: Time without a change after which a stream sends a comment, so that proxies keep it open.
HEARTBEAT_SECONDS: Final = 15.0
#: Size of the parts of an export, in bytes.
_PART_BYTES: Final = 64 * 1024
log = logs.get(__name__)


def add(routes: Blueprint, pool: Pool, exports: Pool, feed: ChangeFeed) -> None:
    """Add the routes."""
    _add_changes(routes, pool)
    _add_stream(routes, pool, feed)
    _add_export(routes, exports)


def _add_changes(routes: Blueprint, pool: Pool) -> None:
    @routes.get("/alerts/changes")
    @document_querystring(ChangesParameters)
    @document_response(AlertChanges)
    @document_problems(400, 401, 503)
    async def list_changes() -> Answer:
        """List the alerts that changed after a number.

        Start without `after`, which returns the current number only. Then repeat with `last` of
        the previous answer. No change is missed; an alert that changed several times is listed
        once.
        """
        after = query.parse_after(request.args.items(multi=True))
        found = await in_thread(partial(read_changes, pool, after))
        listed = ",".join(change.alert for change in found.changes)
        more = "true" if found.more else "false"
        return ok(f'{{"alerts":[{listed}],"last":{found.last},"more":{more}}}'.encode())


def _add_stream(routes: Blueprint, pool: Pool, feed: ChangeFeed) -> None:
    streams = CallerLimit(STREAMS)

    @routes.get("/alerts/stream")
    @document_headers(StreamHeaders)
    @document_response(EventStream)
    @document_problems(401, 503)
    async def stream_changes() -> Any:
        """Stream the changes of alerts as server-sent events.

        Each event `alert` has the number of the change as its id and an AlertSummary as its data.
        A client that reconnects with `Last-Event-ID` misses nothing.
        """
        given = request.headers.get("Last-Event-ID", "")
        after = int(given) if given.isascii() and given.isdigit() and len(given) <= 18 else None
        leave = streams.enter(g.caller)
        try:
            viewer = feed.subscribe(asyncio.get_running_loop())
        except TooManyViewers:
            leave()
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "This replica serves the maximum number of streams.",
                Retry_After=RETRY_AFTER,
            )
        at_end = leave, partial(feed.unsubscribe, viewer)
        try:
            if after is None:
                after = (await in_thread(partial(read_changes, pool, None))).last
        except BaseException:  # also if the client disconnects
            for end in at_end:
                end()
            raise
        body = StreamBody(_events(pool, viewer, after), *at_end)
        response = Response(
            body,
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        response.timeout = None
        return response


async def _events(pool: Pool, viewer: Viewer, after: int) -> AsyncIterator[bytes]:
    """The events after a number: first those that happened before, then those of the feed."""
    try:
        yield f"retry: 2000\nid: {after}\n\n".encode()
        more = True
        while more:
            found = await in_thread(partial(read_changes, pool, after))
            for change in found.changes:
                yield _event(change.number, change.alert)
            after, more = max(after, found.last), found.more
        while not viewer.closed:
            received = await viewer.get(HEARTBEAT_SECONDS)
            if received is None:
                yield b": heartbeat\n\n"
            elif received.number > after:
                yield _event(received.number, received.alert)
                after = received.number
    except Unavailable as error:
        log.warning("stream ended", error=str(error))  # the client reconnects


def _event(number: int, alert: str) -> bytes:
    # Encoded JSON contains no line breaks.
    return f"event: alert\nid: {number}\ndata: {alert}\n\n".encode()


def _add_export(routes: Blueprint, pool: Pool) -> None:
    running = CallerLimit(EXPORTS)

    @routes.get("/alerts/export")
    @document_querystring(ExportParameters)
    @document_response(ExportFile)
    @document_problems(400, 401, 503)
    async def export_all() -> Any:
        """Export all alerts of a filter.

        As NDJSON, CSV, or a STIX 2.1 bundle, in the order of their identifiers, from one snapshot.
        """
        criteria, form = query.parse_export(request.args.items(multi=True))
        leave = running.enter(g.caller)
        try:
            parts = _parts(export.encode(export_alerts(pool, criteria), form))
            first = await in_thread(partial(next, parts, b""))  # errors before the first byte
        except BaseException:
            leave()
            raise
        response = Response(
            StreamBody(_stream(first, parts), leave),
            content_type=export.CONTENT_TYPES[form],
            headers={
                "Cache-Control": "no-store",
                "Content-Disposition": f'attachment; filename="alerts.{_SUFFIX[form]}"',
            },
        )
        response.timeout = None
        return response


_SUFFIX: Final = {
    export.Format.NDJSON: "ndjson",
    export.Format.CSV: "csv",
    export.Format.STIX: "json",
}


async def _stream(first: bytes, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    try:
        part = first
        while part:
            yield part
            part = await in_thread(partial(next, parts, b""), seconds=None)
    finally:
        await asyncio.to_thread(parts.close)  # type: ignore[attr-defined]


def _parts(lines: Iterator[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for line in lines:
        buffer += line
        if len(buffer) >= _PART_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)
