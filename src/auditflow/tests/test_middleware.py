"""Flask and Quart applications are instrumented by the same rules."""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flask
import pytest
import quart
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from auditflow.http import middleware
from auditflow.http.middleware import RequestSummary
from auditflow.telemetry.metrics import HttpMetrics

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Answer(NamedTuple):
    status: int
    headers: Any
    text: str


class Service:
    """An instrumented application, and everything that it reports."""

    def __init__(self, send: Callable[..., Answer], registry: CollectorRegistry) -> None:
        self.send = send
        self.registry = registry
        self.summaries: list[RequestSummary] = []
        self.lines: list[Any] = []
        self.spans = InMemorySpanExporter()

    def count(self, route: str, code: str) -> float | None:
        name = "auditflow_http_request_duration_seconds_count"
        return self.registry.get_sample_value(name, {"route": route, "code": code})


def flask_service() -> Service:
    app, registry = flask.Flask("test", static_folder=None), CollectorRegistry()
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def send(method: str, path: str, **headers: str) -> Answer:
        response = app.test_client().open(path, method=method, headers=headers)
        return Answer(response.status_code, response.headers, response.text)

    service = Service(send, registry)
    instrument(app, service, flask.request, lambda: flask.request.environ)
    return service


def quart_service() -> Service:
    app, registry = quart.Quart("test", static_folder=None), CollectorRegistry()
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def send(method: str, path: str, **headers: str) -> Answer:
        async def request() -> Answer:
            client: Any = app.test_client()
            response = await client.open(path, method=method, headers=headers)
            return Answer(response.status_code, response.headers, await response.get_data(True))

        return asyncio.run(request())

    service = Service(send, registry)
    instrument(app, service, quart.request, lambda: quart.request.scope)
    return service


def instrument(app: Any, service: Service, request: Any, context: Callable[[], Any]) -> None:
    def listen(summary: RequestSummary) -> None:
        service.summaries.append(summary)
        summary.add_log_fields(answer=42)

    middleware.instrument(app, HttpMetrics(service.registry), request=request, listener=listen)

    @app.before_request
    def refuse() -> Any:
        return ("no", 403) if request.path == "/alerts/forbidden" else None

    @app.get("/alerts/<alert_id>")
    def alert(alert_id: str) -> str:
        return middleware.correlation_id(context())

    @app.get("/broken")
    def broken() -> str:
        raise KeyError("secret")

    @app.get("/healthz")
    def healthz() -> str:
        return "alive"


@pytest.fixture(params=[flask_service, quart_service])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made: Service = request.param()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made.spans))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with structlog.testing.capture_logs() as lines:
        made.lines = lines
        yield made


def requests(service: Service) -> list[Any]:
    return [line for line in service.lines if line["event"] == "request"]


def test_the_client_can_choose_the_correlation_id(service: Service) -> None:
    answer = service.send("GET", "/alerts/7", **{"X-Correlation-ID": "case-42"})
    assert (answer.text, answer.headers["X-Correlation-ID"]) == ("case-42", "case-42")
    answer = service.send("GET", "/alerts/7", **{"X-Request-ID": "req-1"})
    assert answer.headers["X-Correlation-ID"] == "req-1"


@pytest.mark.parametrize(
    "value", ["", "x" * 129, "two words", "<script>", 'a"b', "a\tb", "caf\xe9"]
)
def test_an_invalid_correlation_id_is_replaced(service: Service, value: str) -> None:
    answer = service.send("GET", "/alerts/7", **{"X-Correlation-ID": value})
    assert UUID.fullmatch(answer.headers["X-Correlation-ID"])
    assert answer.text == answer.headers["X-Correlation-ID"]


def test_a_span_continues_the_trace_and_is_named_after_the_route(service: Service) -> None:
    service.send("GET", "/alerts/7", traceparent=f"00-{TRACE}-{PARENT}-01")
    (span,) = service.spans.get_finished_spans()
    assert span.name == "GET /alerts/<alert_id>"
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["http.route"] == "/alerts/<alert_id>"


@pytest.mark.parametrize(
    ("method", "path", "route", "code", "level"),
    [
        ("GET", "/alerts/7", "/alerts/<alert_id>", "2xx", "info"),
        ("GET", "/alerts/forbidden", "/alerts/<alert_id>", "4xx", "info"),
        ("GET", "/unknown", "none", "4xx", "info"),
        ("DELETE", "/alerts/7", "none", "4xx", "info"),
        ("GET", "/broken", "/broken", "5xx", "warning"),
    ],
)
def test_a_request_is_counted_and_logged_once(
    service: Service, method: str, path: str, route: str, code: str, level: str
) -> None:
    answer = service.send(method, path)
    assert service.count(route, code) == 1
    (line,) = requests(service)
    assert (line["log_level"], line["method"], line["route"]) == (level, method, route)
    assert (line["path"], line["status"]) == (path, answer.status)
    assert line["answer"] == 42
    (summary,) = service.summaries
    assert (summary.route or "none", summary.status) == (route, answer.status)


def test_probes_are_neither_counted_nor_logged_nor_traced(service: Service) -> None:
    answer = service.send("GET", "/healthz")
    assert UUID.fullmatch(answer.headers["X-Correlation-ID"])
    assert (requests(service), service.summaries) == ([], [])
    assert service.spans.get_finished_spans() == ()
    assert service.count("/healthz", "2xx") is None


def test_a_long_path_is_truncated(service: Service) -> None:
    service.send("GET", "/" + "x" * 5000)
    (line,) = requests(service)
    (span,) = service.spans.get_finished_spans()
    assert line["path"] == "/" + "x" * 199
    assert span.attributes is not None
    assert span.attributes["url.path"] == "/" + "x" * 199


def call_wsgi(metrics: HttpMetrics) -> None:
    def fail(environ: Any, start_response: Any) -> Any:
        raise KeyError

    middleware.WsgiMiddleware(fail, metrics)(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}, lambda *_: None
    )


def call_asgi(metrics: HttpMetrics) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    asyncio.run(middleware.AsgiMiddleware(fail, metrics)(scope, None, None))


@pytest.mark.parametrize("call", [call_wsgi, call_asgi])
def test_an_application_that_raises_is_counted_as_a_server_error(
    call: Callable[[HttpMetrics], None],
) -> None:
    registry = CollectorRegistry()
    with structlog.testing.capture_logs() as lines, pytest.raises(KeyError):
        call(HttpMetrics(registry))
    name = "auditflow_http_request_duration_seconds_count"
    assert registry.get_sample_value(name, {"route": "none", "code": "5xx"}) == 1
    assert [line["status"] for line in lines] == [500]
