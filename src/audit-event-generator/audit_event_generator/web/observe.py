"""Around each request: its ids, its trace, one line in the log, its duration."""

import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct
from opentelemetry.trace import SpanKind

from audit_event_generator.metrics import Metrics
from auditflow.telemetry import logs, tracing
from auditflow.telemetry.metrics import OPERATIONAL_ROUTES, exemplar

#: Where a handler leaves its ``Outcome`` for the line in the log.
OUTCOME: Final = "auditflow.outcome"
CORRELATION_ID: Final = "auditflow.correlation_id"
_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_PATH: Final = 200

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
log = logs.get(__name__)


class Outcome(Struct):
    """What became of a request's events. ``failed`` says why none was delivered."""

    source: str
    accepted: int = 0
    refused: int = 0
    failed: str | None = None


class Observed:
    """A WSGI application with its requests observed."""

    def __init__(self, app: WsgiApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        begun = time.perf_counter()
        correlation_id = environ[CORRELATION_ID] = _correlation_id(environ)
        # Hypercorn hands over whole bodies; without this, one sent in chunks would read as empty.
        environ["wsgi.input_terminated"] = True
        status = 500

        def start(line: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, [*headers, ("X-Correlation-ID", correlation_id)], *rest)

        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path in OPERATIONAL_ROUTES:
            return self._app(environ, start)
        with tracing.span(
            f"{method} request",
            carrier=tracing.from_wsgi(environ),
            correlation_id=correlation_id,
            kind=SpanKind.SERVER,
            **{"http.request.method": method, "url.path": path[:_MAX_PATH]},
        ) as span:
            answer = self._app(environ, start)
            span.set_attribute("http.response.status_code", status)
            self._report(method, path, status, time.perf_counter() - begun, environ)
            return answer

    def _report(
        self, method: str, path: str, status: int, seconds: float, environ: dict[str, Any]
    ) -> None:
        outcome: Outcome | None = environ.get(OUTCOME)
        facts: dict[str, Any] = {}
        if outcome is not None:
            code = f"{status // 100}xx"
            self._metrics.request_seconds.labels(outcome.source, code).observe(seconds, exemplar())
            facts = {
                "source": outcome.source,
                "accepted": outcome.accepted,
                "refused": outcome.refused,
            }
            if outcome.failed:
                facts["failed"] = outcome.failed
        say = log.warning if status >= 500 else log.info
        say(
            "request",
            method=method,
            path=path[:_MAX_PATH],
            status=status,
            seconds=round(seconds, 4),
            **facts,
        )


def _correlation_id(environ: dict[str, Any]) -> str:
    """The client's own, where it is fit to be logged and passed on; else a new one."""
    for header in ("HTTP_X_CORRELATION_ID", "HTTP_X_REQUEST_ID"):
        given = str(environ.get(header, "")).strip()
        if _ID.fullmatch(given):
            return given
    return str(uuid.uuid4())
