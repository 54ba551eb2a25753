"""Answers the most frequent requests without Quart: a list of alerts, one alert and its parts.

The parts are its events and its history. Quart's request, contexts and hooks cost more than these
reads. Only the successful answer is made
here, with the same functions as the routes in ``alerts``. Every other request goes to Quart. A
caller that is authenticated, or an error, goes along, so that no request counts twice against a
limit and no statement that failed is repeated. Requests that arrive at the same time are read
together (``GroupedReads``).
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from auditflow.contract.access import Role
from auditflow.http import middleware
from notification_service import query
from notification_service.api import trail_recording
from notification_service.api.alerts import encode_detail, has_version, history_page
from notification_service.api.callers import Caller, Callers, require
from notification_service.api.encoded_lists import EncodedList, EncodedLists
from notification_service.api.grouped_reads import GroupedReads
from notification_service.api.insights import event_page
from notification_service.api.requests import identifier
from notification_service.audit.trail import Trail
from notification_service.cursor import Cursors
from notification_service.database.alert_reader import AlertReader
from notification_service.query import AlertQuery

#: Keys of an ASGI scope: the caller of the request, and the error that Quart answers.
CALLER: Final = "auditflow.caller"
FAILURE: Final = "auditflow.failure"
#: Parsed queries that are kept, and the longest of them in bytes.
_MAX_QUERIES: Final = 256
_MAX_QUERY_BYTES: Final = 1_000
#: Lists and alerts that are read together. An alert may have some megabytes.
_LISTS_IN_GROUP: Final = 16
_ALERTS_IN_GROUP: Final = 8
#: Alerts whose events, or history, are read together.
_PARTS_IN_GROUP: Final = 4
#: Lists at the same time whose duration depends on their filter. Each is read alone.
_LONG_LISTS: Final = 4
_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Parameters = Sequence[tuple[str, str]]


class DirectReads:
    """An ASGI application in front of Quart's."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        prefix: str,
        callers: Callers,
        reader: AlertReader,
        cursors: Cursors,
        trail: Trail | None,
    ) -> None:
        self._app = app
        #: The paths of lists, and whether they have counts.
        self._lists = {f"{prefix}/alerts": False, "/alerts": True}
        self._callers = callers
        self._reader = reader
        self._cursors = cursors
        self._encoded = EncodedLists(cursors)
        self._trail = trail
        self._parsed = lru_cache(_MAX_QUERIES)(self._parse)
        self._short_lists = GroupedReads(self._read_lists, max_keys=_LISTS_IN_GROUP, parallel=1)
        self._long_lists = GroupedReads(self._read_lists, max_keys=1, parallel=_LONG_LISTS)
        self._alerts = GroupedReads(self._read_alerts, max_keys=_ALERTS_IN_GROUP, parallel=1)
        #: Lists of alerts whose items have parts. The previous API has none.
        self._with_parts = f"{prefix}/alerts"
        #: The first page of the parts of an alert, by the last segment of the path.
        self._parts = {
            "events": _Part(
                "list_events", lambda alert_id: event_page(reader.pool, cursors, alert_id)
            ),
            "history": _Part("get_history", lambda alert_id: history_page(reader, alert_id)),
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope.get("root_path"):
            path = scope["path"]
            answer = None
            if path in self._lists:
                if len(scope["query_string"]) <= _MAX_QUERY_BYTES:
                    answer = await self._try(scope, self._answer_list)
            elif not scope["query_string"]:
                read = self._read_of_alert(path)
                if read is not None:
                    answer = await self._try(scope, read)
            if answer is not None:
                status, body, headers = answer
                length = (b"content-length", str(len(body)).encode())
                sent = [*_HEADERS, *headers] if status == 304 else [*_HEADERS, *headers, length]
                await send({"type": "http.response.start", "status": status, "headers": sent})
                await send({"type": "http.response.body", "body": body, "more_body": False})
                return
        await self._app(scope, receive, send)

    def _read_of_alert(self, path: str) -> "_Read | None":
        """What answers a request for an alert or a part of it."""
        start, _, last = path.rpartition("/")
        if start in self._lists:
            alert_id = identifier(last)
            return None if alert_id is None else partial(self._answer_alert, alert_id)
        part = self._parts.get(last)
        start, _, last = start.rpartition("/")
        if part is None or start != self._with_parts:
            return None
        alert_id = identifier(last)
        return None if alert_id is None else partial(self._answer_part, part, alert_id)

    async def _try(self, scope: Any, read: "_Read") -> "_Answer | None":
        """The answer of ``read``. None if Quart makes the answer."""
        request = _Request(scope)
        if request.has_body:
            return None
        try:
            caller = scope[CALLER] = await self._callers.authenticate(request)
            require(caller, Role.VIEWER, "alerts:read")
            return await read(scope, caller)
        except Exception as error:  # noqa: BLE001 - Quart's error handlers answer it
            scope[FAILURE] = error
            return None

    async def _answer_list(self, scope: Any, caller: Caller) -> "_Answer | None":
        try:
            parameters, query = self._parsed(scope["query_string"])
        except UnicodeDecodeError:
            return None
        path = scope["path"]
        reads = self._short_lists if self._reader.is_short(query) else self._long_lists
        found = await reads.get((query, self._lists[path]))
        middleware.set_route(scope, path)
        self._record(scope, caller, "list_alerts", parameters=parameters)
        headers = ((b"etag", found.etag.encode()),)
        if has_version(_header(scope, b"if-none-match"), found.etag):
            return HTTPStatus.NOT_MODIFIED, b"", headers
        return HTTPStatus.OK, found.body, headers

    async def _answer_alert(self, alert_id: UUID, scope: Any, caller: Caller) -> "_Answer | None":
        found = await self._alerts.get(alert_id)
        if found is None:
            return None
        body, version = found
        start, _, last = scope["path"].rpartition("/")
        middleware.set_route(scope, f"{start}/<alert_id>")
        self._record(scope, caller, "get_alert", targets=(last,))
        return HTTPStatus.OK, body, ((b"etag", f'"{version}"'.encode()),)

    async def _answer_part(
        self, part: "_Part", alert_id: UUID, scope: Any, caller: Caller
    ) -> "_Answer | None":
        body = await part.reads.get(alert_id)
        start, identifier_of_path, last = scope["path"].rsplit("/", 2)
        middleware.set_route(scope, f"{start}/<alert_id>/{last}")
        self._record(scope, caller, part.name, targets=(identifier_of_path,))
        return HTTPStatus.OK, body, ()

    def _read_lists(self, keys: Sequence[tuple[AlertQuery, bool]]) -> dict[Any, EncodedList]:
        """Encoded lists, with counts or without."""
        if len(keys) == 1:
            ((query, _),) = keys
            pages = {query: self._reader.page(query)}
        else:
            pages = self._reader.pages({query for query, _ in keys})
        return {
            (query, with_counts): self._encoded.encode(
                query, pages[query], self._reader.counts(query) if with_counts else None
            )
            for query, with_counts in keys
        }

    def _read_alerts(self, alert_ids: Sequence[UUID]) -> dict[UUID, tuple[bytes, int] | None]:
        """Encoded alerts with their versions. None for an alert that does not exist."""
        found = self._reader.details(alert_ids)
        return {
            alert_id: encode_detail(found[alert_id]) if alert_id in found else None
            for alert_id in alert_ids
        }

    def _parse(self, encoded: bytes) -> tuple[Parameters, AlertQuery]:
        parameters = parse_qsl(encoded.decode("ascii"), keep_blank_values=True, errors="strict")
        return parameters, query.parse(parameters, self._cursors)

    def _record(
        self,
        scope: Any,
        caller: Caller,
        name: str,
        *,
        parameters: Parameters = (),
        targets: Sequence[str] = (),
    ) -> None:
        if self._trail is not None:
            made = trail_recording.record_of(
                name,
                caller,
                200,
                parameters=parameters,
                targets=targets,
                correlation_id=trail_recording.correlation_id(scope),
            )
            self._trail.record_read(made)


#: Status, body and headers.
_Answer = tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]
#: Reads the answer to a request. None if Quart makes the answer.
_Read = Callable[[Any, Caller], Awaitable[_Answer | None]]


class _Part:
    """A part of an alert. ``name`` is that of its route."""

    def __init__(self, name: str, read: Callable[[UUID], Any]) -> None:
        """``read`` returns the message of the answer."""
        self.name = name
        self._read = read
        self.reads = GroupedReads(self._read_group, max_keys=_PARTS_IN_GROUP, parallel=2)

    def _read_group(self, alert_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        return {alert_id: msgspec.json.encode(self._read(alert_id)) for alert_id in alert_ids}


def _header(scope: Any, name: bytes) -> str | None:
    """The values of a header of a request, separated by commas. None if it has no such header."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(values) if values else None


class _Request:
    """The parts of a request that authentication reads."""

    def __init__(self, scope: Any) -> None:
        client = scope.get("client")
        self.remote_addr = client[0] if client else "<local>"
        self.headers = _Headers()
        for name, value in scope["headers"]:
            self.headers.setdefault(name, value)
        self.has_body = b"transfer-encoding" in self.headers or b"content-length" in self.headers


class _Headers(dict[bytes, bytes]):
    """The headers of an ASGI scope, whose names have lower-case letters. The first value counts."""

    def get(self, name: Any, default: Any = None) -> Any:
        value = super().get(name.lower().encode())
        return default if value is None else value.decode("latin-1")
