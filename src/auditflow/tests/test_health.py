"""Ready only when all that is needed is there; dead only when a restart would help."""

import json
from typing import Any

from flask import Flask, request
from prometheus_client import CollectorRegistry, Counter

from auditflow.http import probes
from auditflow.http.health import Health


def client_of(health: Health) -> Any:
    registry = CollectorRegistry()
    Counter("sample_total", "A sample.", registry=registry).inc()
    app = Flask("sample")
    probes.add_routes(app, health, registry, service="sample", request=request)
    return app.test_client()


def test_a_dependency_that_is_down_is_named_and_the_process_stays_alive() -> None:
    client = client_of(Health({"redis": lambda: None, "rabbitmq": lambda: "refused"}))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert json.loads(answer.data)["dependencies"] == {
        "redis": {"state": "up"},
        "rabbitmq": {"state": "down", "detail": "refused"},
    }
    assert client.get("/healthz").status_code == 200


def test_a_dead_thread_asks_for_a_restart() -> None:
    client = client_of(Health({}, alive=lambda: "the consumer has ended"))
    assert client.get("/healthz").status_code == 503


def test_a_process_that_is_stopping_is_not_ready() -> None:
    health = Health({"redis": lambda: None})
    assert health.ready()[0]
    health.stop()
    assert not health.ready()[0]


def test_a_storm_of_probes_does_not_reach_the_dependency() -> None:
    asked = []
    health = Health({"redis": lambda: asked.append(1)})
    for _ in range(100):
        health.ready()
    assert len(asked) == 1


def test_metrics_are_in_the_text_format() -> None:
    answer = client_of(Health({})).get("/metrics")
    assert b"sample_total 1.0" in answer.data
    assert answer.content_type.startswith("text/plain")


def test_prometheus_gets_the_exemplars_too() -> None:
    accepts = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = client_of(Health({})).get("/metrics", headers={"Accept": accepts})
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.data.endswith(b"# EOF\n")


def test_what_readyz_says_is_a_metric() -> None:
    answer = client_of(Health({"redis": lambda: None, "rabbitmq": lambda: "refused"})).get(
        "/metrics"
    )
    assert b'auditflow_dependency_up{dependency="redis"} 1.0' in answer.data
    assert b'auditflow_dependency_up{dependency="rabbitmq"} 0.0' in answer.data
