"""What can be seen of a request from outside: trace, correlation id, log line, duration."""

import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask, Response, g, request
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from auditflow.telemetry import logs, tracing
from auditflow.telemetry.metrics import OPERATIONAL_ROUTES
from event_audit_dashboard.metrics import Metrics

_HEADER: Final = "X-Correlation-ID"
_ENVIRON: Final = "auditflow.correlation_id"
_ACCEPTABLE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def add(app: Flask, metrics: Metrics) -> None:
    """Wrap the application, so that everything it logs carries the ids."""
    log = logs.get(__name__)
    # Flask's own way to add WSGI middleware is to replace this method.
    app.wsgi_app = _Traced(app.wsgi_app)  # type: ignore[method-assign]

    @app.before_request
    def _begin() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def _end(response: Response) -> Response:
        took = time.perf_counter() - g.get("started", time.perf_counter())
        route = request.url_rule.rule if request.url_rule else None
        metrics.http.observe(route, response.status_code, took)
        response.headers[_HEADER] = correlation_id()
        trace.get_current_span().set_attribute("http.response.status_code", response.status_code)
        if route not in OPERATIONAL_ROUTES:
            log.debug("request", method=request.method, route=route, status=response.status_code,
                      seconds=round(took, 4))  # fmt: skip
        return response


def correlation_id() -> str:
    """The id that this request has in all logs: the client's own, if it gave a decent one."""
    return str(request.environ[_ENVIRON])


class _Traced:
    def __init__(self, app: Callable[[Any, Any], Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        given = environ.get("HTTP_X_CORRELATION_ID", "")
        chosen = given if _ACCEPTABLE.fullmatch(given) else str(uuid.uuid4())
        environ[_ENVIRON] = chosen
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path in OPERATIONAL_ROUTES:
            return self._app(environ, start_response)
        with tracing.span(
            f"{method} page",
            carrier=tracing.from_wsgi(environ),
            correlation_id=chosen,
            kind=SpanKind.SERVER,
            **{"http.request.method": method, "url.path": path},
        ):
            return self._app(environ, start_response)
