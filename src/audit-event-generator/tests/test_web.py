"""Common behaviour of all routes: token, identifiers, errors, metrics."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from audit_event_generator.ingest import native
from audit_event_generator.ingest.sources import SOURCES
from auditflow.telemetry import tracing

from .conftest import TOKEN, Ingest, RecordingBroker

ROUTES = ("/generate_event", *(f"/ingest/{name}" for name in SOURCES))
GOOD = b'{"event_type":"a","timestamp":"2026-01-01T00:00:00Z"}'


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", "Bearer tökén", TOKEN],
)
def test_missing_or_wrong_token_is_refused(
    ingest: Ingest, broker: RecordingBroker, route: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}

    answer = ingest.client.post(route, data=GOOD, headers=headers)

    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN not in answer.text
    assert broker.messages == []


def test_authentication_scheme_is_case_insensitive(ingest: Ingest) -> None:
    headers = {"Authorization": f"bearer {TOKEN}"}
    assert ingest.client.post("/generate_event", data=GOOD, headers=headers).status_code == 202


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


@pytest.mark.parametrize("user", ["apiserver", ""])
def test_token_as_basic_password(ingest: Ingest, user: str) -> None:
    answer = ingest.client.post("/generate_event", data=GOOD, headers=_basic(user, TOKEN))

    assert answer.status_code == 202


@pytest.mark.parametrize(("user", "password"), [("apiserver", "wrong"), (TOKEN, ""), ("", "tökén")])
def test_wrong_password_is_refused(
    ingest: Ingest, broker: RecordingBroker, user: str, password: str
) -> None:
    answer = ingest.client.post("/generate_event", data=GOOD, headers=_basic(user, password))

    assert answer.status_code == 401
    assert broker.messages == []


@pytest.mark.parametrize(
    "header",
    [
        f"Digest {base64.b64encode(f'user:{TOKEN}'.encode()).decode()}",
        f"Token {TOKEN}",
        f"Basic {base64.b64encode(f'user:{TOKEN}'.encode()).decode()}!",
        f"Basic *{base64.b64encode(f'user:{TOKEN}'.encode()).decode()}",
    ],
)
def test_other_authentication_scheme_is_refused(ingest: Ingest, header: str) -> None:
    answer = ingest.client.post("/generate_event", data=GOOD, headers={"Authorization": header})
    assert answer.status_code == 401


@pytest.mark.parametrize("route", ROUTES[:2])
def test_unavailable_broker_gives_503(ingest: Ingest, broker: RecordingBroker, route: str) -> None:
    broker.unavailable = "the connection ended: secret-host:5672"

    answer = ingest.post(route, GOOD)

    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert "secret-host" not in answer.text
    source = "api" if route == "/generate_event" else "ndjson"
    assert ingest.count("accepted", source) == ingest.count("unconfirmed", source) == 0


def test_unconfirmed_events_are_not_counted_as_accepted(
    ingest: Ingest, broker: RecordingBroker
) -> None:
    broker.confirms = False

    answer = ingest.post("/ingest/ndjson", GOOD + b"\n" + GOOD + b"\nbad")

    assert answer.status_code == 503
    assert ingest.count("accepted", "ndjson") == 0
    assert ingest.count("unconfirmed", "ndjson") == 3, "the event of the refused record too"
    assert ingest.count("refused", "ndjson") == 0, "the client sends it again, and then it counts"


def test_request_id_and_trace_are_passed_on(ingest: Ingest, broker: RecordingBroker) -> None:
    tracing.configure("test")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    answer = ingest.post(
        "/generate_event",
        GOOD,
        X_Request_ID="req-4711",
        traceparent=f"00-{trace}-00f067aa0ba902b7-01",
    )

    assert answer.headers["X-Correlation-ID"] == "req-4711"
    [message] = broker.messages
    assert message.correlation_id == "req-4711"
    assert message.headers is not None
    assert message.headers["traceparent"].split("-")[1] == trace


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "caf\u00e9"])
def test_invalid_request_id_is_replaced(
    ingest: Ingest, broker: RecordingBroker, given: str
) -> None:
    answer = ingest.post("/generate_event", GOOD, X_Correlation_ID=given)

    [message] = broker.messages
    assert message.correlation_id == answer.headers["X-Correlation-ID"]
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Correlation-ID"])


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_request_is_logged_without_its_body(ingest: Ingest, lines: list[Any]) -> None:
    ingest.post("/ingest/ndjson", GOOD.replace(b'"a"', b'"hush"') + b"\n{}")

    [line] = [item for item in lines if item["event"] == "request"]
    assert (line["log_level"], line["method"], line["path"]) == ("info", "POST", "/ingest/ndjson")
    assert (line["status"], line["accepted"], line["refused"]) == (202, 1, 1)
    assert "hush" not in json.dumps(lines)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/generate_event/", 404),
        ("GET", "/static/x", 404),
        ("GET", "/generate_event", 405),
        ("DELETE", "/ingest/ndjson", 405),
        ("POST", "/healthz", 405),
        ("GET", "/%00", 404),
    ],
)
def test_unknown_route_or_method_is_a_problem_document(
    ingest: Ingest, method: str, path: str, status: int
) -> None:
    answer = ingest.client.open(path, method=method)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert ("Allow" in answer.headers) == (status == 405)


def test_internal_error_hides_details(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, lines: list[Any]
) -> None:
    def fail(_: bytes) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(native, "request_to_event", fail)

    answer = ingest.post("/generate_event", GOOD)

    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert "hunter2" not in answer.text
    assert any(line["log_level"] == "error" for line in lines)


def test_operational_routes_need_no_token(ingest: Ingest, broker: RecordingBroker) -> None:
    ingest.post("/generate_event", GOOD)
    broker.unavailable = "not connected"

    assert ingest.client.get("/healthz").json == {
        "status": "alive",
        "service": "audit-event-generator",
    }
    ready = ingest.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json is not None
    assert ready.json["dependencies"]["rabbitmq"]["state"] == "down"
    assert 'auditflow_events_accepted_total{source="api"} 1.0' in ingest.client.get("/metrics").text


def test_metric_labels_are_a_closed_set(ingest: Ingest, registry: CollectorRegistry) -> None:
    ingest.post("/generate_event", GOOD)
    ingest.post("/generate_event", b"{")
    ingest.client.get("/some/users/path")

    seen = {
        tuple(sorted(item.labels.items()))
        for family in registry.collect()
        if family.name == "auditflow_ingest_request_seconds"
        for item in family.samples
        if item.name.endswith("_count")
    }
    assert seen == {(("code", "2xx"), ("source", "api")), (("code", "4xx"), ("source", "api"))}
