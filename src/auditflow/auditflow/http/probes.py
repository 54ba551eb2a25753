"""The three paths of every service: ``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from typing import Any, Protocol

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from auditflow.http.api import JSON_HEADERS, Answer, respond
from auditflow.http.health import Health
from auditflow.http.problem import Problem
from auditflow.telemetry.metrics import Dependencies


class App(Protocol):
    """The common part of Flask and Quart applications that is needed here."""

    def add_url_rule(self, rule: str, endpoint: str, view_func: Any) -> Any: ...


class Request(Protocol):
    """The current request of Flask or Quart."""

    @property
    def headers(self) -> Any: ...


class Probes:
    """The answers of one process.

    ``/healthz`` is 503 only if a restart would help. ``/readyz`` is 503 while a dependency is down
    or the process is stopping, and contains the state of each dependency.
    """

    def __init__(self, health: Health, registry: CollectorRegistry, *, service: str) -> None:
        self._health = health
        self._registry = registry
        self._service = service

    def healthz(self) -> Answer:
        """Liveness."""
        reason = self._health.alive()
        body = {"status": "alive" if reason is None else "dead", "service": self._service}
        if reason is not None:
            body["detail"] = reason
        return msgspec.json.encode(body), 200 if reason is None else 503, dict(JSON_HEADERS)

    def readyz(self) -> Answer:
        """Readiness."""
        ready, states = self._health.ready()
        body = {
            "status": "ready" if ready else "not ready",
            "service": self._service,
            "dependencies": states,
        }
        return msgspec.json.encode(body), 200 if ready else 503, dict(JSON_HEADERS)

    def metrics(self, accept: str) -> Answer:
        """The metrics, in the format that the Accept header asks for."""
        # Only the OpenMetrics format has exemplars. Prometheus asks for it.
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), 200, {"Content-Type": content_type}

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI application that serves the three paths, for a port of its own."""
        if scope["type"] != "http":
            return
        accept = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"accept"), "")
        answers = {
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": lambda: self.metrics(accept),
        }
        answer = answers.get(scope["path"])
        if answer is None or scope["method"] not in ("GET", "HEAD"):
            await respond(send, Problem(404, "Not Found").response())
        else:
            await respond(send, await asyncio.to_thread(answer))


def add_routes(
    app: App, health: Health, registry: CollectorRegistry, *, service: str, request: Request
) -> None:
    """Add the three paths to a Flask or Quart application. ``request`` is its request proxy.

    The views are plain functions. Quart runs them in a thread, so that a slow check does not stop
    its event loop.
    """
    probes = Probes(health, registry, service=service)

    # Functions and not bound methods, because extensions set attributes on views.
    def healthz() -> Answer:
        return probes.healthz()

    def readyz() -> Answer:
        return probes.readyz()

    def metrics() -> Answer:
        return probes.metrics(request.headers.get("Accept", ""))

    registry.register(Dependencies(health))
    for view in (healthz, readyz, metrics):
        app.add_url_rule(f"/{view.__name__}", f"operations.{view.__name__}", view)
