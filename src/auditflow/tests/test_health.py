"""Readiness depends on all dependencies; liveness fails only if a restart helps."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request
from prometheus_client import CollectorRegistry, Counter

from auditflow.http import probes
from auditflow.http.health import CACHE_SECONDS, Health
from auditflow_local.polling import eventually


def client_of(health: Health) -> Any:
    registry = CollectorRegistry()
    Counter("sample_total", "A sample.", registry=registry).inc()
    app = Flask("sample")
    probes.add_routes(app, health, registry, service="sample", request=request)
    return app.test_client()


def test_a_dependency_that_is_down_is_named_and_the_process_is_alive() -> None:
    client = client_of(Health({"redis": lambda: None, "rabbitmq": lambda: "refused"}))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert json.loads(answer.data)["dependencies"] == {
        "redis": {"state": "up"},
        "rabbitmq": {"state": "down", "detail": "refused"},
    }
    assert client.get("/healthz").status_code == 200


def test_a_failed_thread_needs_a_restart() -> None:
    client = client_of(Health({}, alive=lambda: "the consumer has ended"))
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert json.loads(answer.data)["detail"] == "the consumer has ended"


def test_a_stopping_process_is_not_ready() -> None:
    health = Health({"redis": lambda: None})
    assert health.ready()[0]
    health.stop()
    assert not health.ready()[0]


def test_frequent_probes_check_a_dependency_once() -> None:
    checks = []
    health = Health({"redis": lambda: checks.append(1)})
    for _ in range(100):
        health.ready()
    assert len(checks) == 1


def test_a_result_is_not_used_for_longer_than_the_cache_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasons = iter(["refused", None])
    health = Health({"redis": lambda: next(reasons)})
    assert not health.ready()[0]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + CACHE_SECONDS + 0.1)
    assert health.ready()[0]


@pytest.fixture
def silent_server() -> Iterator[tuple[str, int]]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[:2]


def test_a_silent_dependency_delays_neither_probes_nor_metrics(
    silent_server: tuple[str, int],
) -> None:
    # Given a dependency whose check waits for an answer that never comes
    started: list[int] = []

    def check() -> str | None:
        started.append(1)
        with socket.create_connection(silent_server, timeout=60) as connection:
            connection.recv(1)
        return None

    health = Health({"redis": check, "rabbitmq": lambda: None}, timeout=0.2)
    client = client_of(health)
    # when several probes arrive at the same time
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda path=path: answers.append(client.get(path)))
        for path in ("/readyz", "/metrics", "/readyz")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # then all are answered after the timeout, only this dependency is down, and one check runs
    states = health.dependencies()
    assert (states["redis"].state, states["rabbitmq"].state) == ("down", "up")
    assert states["redis"].detail == "no answer within 0.2 s"
    assert len(started) == 1
    assert any(b'auditflow_dependency_up{dependency="redis"} 0.0' in it.data for it in answers)


def test_a_check_that_fails_is_a_dependency_that_is_down() -> None:
    def check() -> str | None:
        raise KeyError("a bug")

    health = Health({"redis": check})
    assert health.dependencies()["redis"].detail == "the check failed: KeyError: 'a bug'"


def test_a_dependency_that_answers_late_is_up_with_the_next_probe() -> None:
    answered = threading.Event()

    def check() -> str | None:
        answered.wait(60)
        return None

    health = Health({"redis": check}, timeout=0.05)
    assert not health.ready()[0]
    answered.set()
    eventually(lambda: health.ready()[0])


def test_metrics_are_in_the_text_format() -> None:
    answer = client_of(Health({})).get("/metrics")
    assert b"sample_total 1.0" in answer.data
    assert answer.content_type.startswith("text/plain")


def test_prometheus_gets_the_exemplars_too() -> None:
    accepts = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = client_of(Health({})).get("/metrics", headers={"Accept": accepts})
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.data.endswith(b"# EOF\n")


def test_the_states_of_dependencies_are_a_metric() -> None:
    health = Health({"redis": lambda: None, "rabbitmq": lambda: "refused"})
    answer = client_of(health).get("/metrics")
    assert b'auditflow_dependency_up{dependency="redis"} 1.0' in answer.data
    assert b'auditflow_dependency_up{dependency="rabbitmq"} 0.0' in answer.data
