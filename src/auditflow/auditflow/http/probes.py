"""The three addresses that every service has: ``/healthz``, ``/readyz`` and ``/metrics``."""

from typing import Any, Protocol

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from auditflow.http.health import Health
from auditflow.telemetry.metrics import Dependencies

_JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}
Answer = tuple[bytes, int, dict[str, str]]


class App(Protocol):
    """What Flask and Quart have in common, as far as it is needed here."""

    def add_url_rule(self, rule: str, endpoint: str, view_func: Any) -> Any: ...


class Request(Protocol):
    """The request in hand, as Flask and Quart have it."""

    @property
    def headers(self) -> Any: ...


def add_routes(
    app: App, health: Health, registry: CollectorRegistry, *, service: str, request: Request
) -> None:
    """Add the three addresses to a Flask or Quart application, whose ``request`` is given too.

    ``/healthz`` is 503 only when a restart would help. ``/readyz`` is 503 while a dependency is
    down or the process is stopping, and names each dependency's state. The handlers are plain
    functions: Quart runs such in a thread, so a slow check never stops its event loop.
    """

    def healthz() -> Answer:
        wrong = health.alive()
        body = {"status": "alive" if wrong is None else "dead", "service": service}
        if wrong is not None:
            body["detail"] = wrong
        return msgspec.json.encode(body), 200 if wrong is None else 503, _JSON

    def readyz() -> Answer:
        ready, states = health.ready()
        body = {
            "status": "ready" if ready else "not ready",
            "service": service,
            "dependencies": states,
        }
        return msgspec.json.encode(body), 200 if ready else 503, _JSON

    def metrics() -> Answer:
        # Exemplars exist only in the format of OpenMetrics, which Prometheus asks for.
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return encode(registry), 200, {"Content-Type": content_type}

    registry.register(Dependencies(health))
    for view in (healthz, readyz, metrics):
        app.add_url_rule(f"/{view.__name__}", f"operations.{view.__name__}", view)
