"""The three addresses that every service has: ``/healthz``, ``/readyz`` and ``/metrics``."""

from typing import Any, Protocol

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from auditflow.health import Health

_JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}
Answer = tuple[bytes, int, dict[str, str]]


class App(Protocol):
    """What Flask and Quart have in common, as far as it is needed here."""

    def add_url_rule(self, rule: str, endpoint: str, view_func: Any) -> Any: ...


def add_routes(app: App, health: Health, registry: CollectorRegistry, *, service: str) -> None:
    """Add the three addresses to a Flask or Quart application.

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
        return generate_latest(registry), 200, {"Content-Type": CONTENT_TYPE_LATEST}

    for view in (healthz, readyz, metrics):
        app.add_url_rule(f"/{view.__name__}", f"operations.{view.__name__}", view)
