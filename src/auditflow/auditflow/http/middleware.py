"""Request instrumentation for WSGI and ASGI: request id, trace, metrics and access log.

All services use the same rules. Every response carries ``X-Correlation-ID``. Every request except
the probes and ``/metrics`` is one span, one observation of the metric
``auditflow_http_request_duration_seconds`` and one line in the log. Spans and metrics carry the
template of the route, because the number of paths is unlimited.
"""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final

from msgspec import Struct
from opentelemetry.trace import Span, SpanKind

from auditflow.telemetry import logs, tracing
from auditflow.telemetry.metrics import NO_ROUTE, OPERATIONAL_ROUTES, HttpMetrics

#: The header of a request's correlation id, in requests and responses.
CORRELATION_HEADER: Final = "X-Correlation-ID"
#: The request headers that may contain the client's correlation id. The first valid one counts.
_REQUEST_HEADERS: Final = (CORRELATION_HEADER, "X-Request-ID")
#: Their names in a WSGI environ.
_ENVIRON_NAMES: Final = tuple(
    f"HTTP_{header.upper().replace('-', '_')}" for header in _REQUEST_HEADERS
)
_VALID_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
#: The maximum length of a path in spans and logs, in characters.
_MAX_PATH: Final = 200

# Keys of a WSGI environ or an ASGI scope.
_CORRELATION_ID: Final = "auditflow.correlation_id"
_ROUTE: Final = "auditflow.route"

WsgiApp = Callable[[Any, Any], Iterable[bytes]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

log = logs.get(__name__)


class RequestSummary(Struct, frozen=True):
    """A request whose response has started. ``seconds`` is the time until then."""

    context: Mapping[str, Any]
    method: str
    path: str
    route: str | None
    status: int
    seconds: float
    log_fields: dict[str, Any] = {}

    def add_log_fields(self, **fields: Any) -> None:
        """Add fields to the request's line in the log."""
        self.log_fields.update(fields)


#: Is called for each request when its response starts.
Listener = Callable[[RequestSummary], None]


def correlation_id(context: Mapping[str, Any]) -> str:
    """The correlation id of a request: the client's id if it is valid, otherwise a UUID."""
    return str(context[_CORRELATION_ID])


def set_route(context: MutableMapping[str, Any], route: str) -> None:
    """Set the template of the route of a request that no framework handles."""
    context[_ROUTE] = route


def instrument(
    app: Any, metrics: HttpMetrics, *, request: Any, listener: Listener | None = None
) -> None:
    """Instrument a Flask or Quart application. Call this before any other hook is added.

    ``request`` is the request proxy of the same framework.
    """
    if hasattr(app, "asgi_app"):

        async def remember_asgi_route() -> None:
            request.scope[_ROUTE] = request.url_rule.rule if request.url_rule else None

        app.before_request(remember_asgi_route)
        app.asgi_app = AsgiMiddleware(app.asgi_app, metrics, listener=listener)
    else:

        def remember_wsgi_route() -> None:
            request.environ[_ROUTE] = request.url_rule.rule if request.url_rule else None

        app.before_request(remember_wsgi_route)
        app.wsgi_app = WsgiMiddleware(app.wsgi_app, metrics, listener=listener)


class WsgiMiddleware:
    """Instruments a WSGI application."""

    def __init__(
        self, app: WsgiApp, metrics: HttpMetrics, *, listener: Listener | None = None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._listener = listener

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        chosen = environ[_CORRELATION_ID] = _choose_id(
            environ.get(name, "") for name in _ENVIRON_NAMES
        )
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        status = 500

        def start(line: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, _with_id(headers, chosen), *rest)

        if path in OPERATIONAL_ROUTES:
            return self._app(environ, start)
        started = time.perf_counter()
        with _span(method, path, chosen, tracing.from_wsgi(environ)) as span:
            try:
                return self._app(environ, start)
            finally:
                summary = RequestSummary(
                    environ,
                    method,
                    path,
                    environ.get(_ROUTE),
                    status,
                    time.perf_counter() - started,
                )
                _report(summary, span, self._metrics, self._listener)


class AsgiMiddleware:
    """Instruments an ASGI application. Only HTTP requests are instrumented."""

    def __init__(
        self, app: AsgiApp, metrics: HttpMetrics, *, listener: Listener | None = None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._listener = listener

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        chosen = scope[_CORRELATION_ID] = _choose_id(
            received.get(name.lower(), "") for name in _REQUEST_HEADERS
        )
        header = (CORRELATION_HEADER.lower().encode(), chosen.encode())
        method, path = scope["method"], scope["path"]
        operational = path in OPERATIONAL_ROUTES
        started = time.perf_counter()
        reported = False

        def report(status: int) -> None:
            nonlocal reported
            reported = True
            summary = RequestSummary(
                scope, method, path, scope.get(_ROUTE), status, time.perf_counter() - started
            )
            _report(summary, span, self._metrics, self._listener)

        async def send_with_id(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), header]}
                if not operational:
                    report(message["status"])
            await send(message)

        if operational:
            await self._app(scope, receive, send_with_id)
            return
        with _span(method, path, chosen, tracing.carrier(received)) as span:
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                if not reported:
                    report(500)


def _choose_id(received: Iterable[str]) -> str:
    for value in received:
        if _VALID_ID.fullmatch(value):
            return value
    return str(uuid.uuid4())


def _with_id(headers: list[tuple[str, str]], chosen: str) -> list[tuple[str, str]]:
    return [*headers, (CORRELATION_HEADER, chosen)]


def _span(
    method: str, path: str, chosen: str, carrier: Mapping[str, str]
) -> AbstractContextManager[Span]:
    attributes: dict[str, Any] = {"http.request.method": method, "url.path": path[:_MAX_PATH]}
    return tracing.span(
        method,
        carrier=carrier,
        correlation_id=chosen,
        kind=SpanKind.SERVER,
        **attributes,
    )


def _report(
    summary: RequestSummary, span: Span, metrics: HttpMetrics, listener: Listener | None
) -> None:
    """Finish the span's name, observe the duration, and write the line in the log."""
    if summary.route is not None:
        span.update_name(f"{summary.method} {summary.route}")
        span.set_attribute("http.route", summary.route)
    span.set_attribute("http.response.status_code", summary.status)
    metrics.observe(summary.route, summary.status, summary.seconds)
    if listener is not None:
        listener(summary)
    write = log.warning if summary.status >= 500 else log.info
    write(
        "request",
        method=summary.method,
        path=summary.path[:_MAX_PATH],
        route=summary.route or NO_ROUTE,
        status=summary.status,
        seconds=round(summary.seconds, 4),
        **summary.log_fields,
    )
