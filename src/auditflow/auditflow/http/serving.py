"""Serves HTTP with Hypercorn, and ends the process in order."""

import asyncio
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ssl import SSLContext, SSLError
from typing import Any, Final, Literal, TypeVar

import uvloop
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.run import worker_serve
from pydantic_settings import BaseSettings

from auditflow import settings as setting_loader
from auditflow import worker
from auditflow.errors import SettingsError
from auditflow.http.api import respond
from auditflow.http.certificate import Certificate
from auditflow.http.connection_limit import ConnectionLimit
from auditflow.http.connections import ServerConfig
from auditflow.http.probes import Probes
from auditflow.http.problem import Problem
from auditflow.http.wsgi import BoundedWsgi
from auditflow.settings import ServiceSettings
from auditflow.telemetry import logs, tracing

#: The maximum number of concurrent requests of a WSGI service. Each may wait for a second for the
#: broker.
THREADS: Final = 64
#: The maximum time for requests in flight after SIGTERM, in seconds. The other parts of a service
#: end in the rest of the ten seconds that a process has.
GRACE_SECONDS: Final = 3.0
#: The maximum size of a request body of an ingest route, in bytes.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
#: The maximum size of a request body of a WSGI service, in bytes. Routes may allow less.
WSGI_BODY_BYTES: Final = 1024 * 1024
#: The maximum number of connections to the port of metrics and probes.
METRICS_CONNECTIONS: Final = 32
#: The interval of checks for a renewed certificate, in seconds.
CERTIFICATE_SECONDS: Final = 30.0

S = TypeVar("S", bound=BaseSettings)
log = logs.get(__name__)


def start(service: str, kind: type[S], run: Callable[[S], None]) -> None:
    """The body of a service's ``main``: load settings, set up logs and traces, call ``run``.

    Missing or invalid settings end the process with code 2 and one line for each variable. A failed
    worker thread ends it with code 70.
    """
    try:
        loaded = setting_loader.load(kind)
        about = loaded if isinstance(loaded, ServiceSettings) else None
        logs.configure(service, level=about.log_level if about else "INFO")
        tracing.configure(service, environment=about.environment if about else "local")
    except SettingsError as error:
        sys.stderr.write(f"{service}: the settings are not complete:\n{error}\n")
        raise SystemExit(2) from None
    worker.end_process_on_failure()
    run(loaded)
    if worker.failure() is not None:
        raise SystemExit(worker.EXIT_CODE)


def serve(
    app: Any,
    settings: ServiceSettings,
    *,
    mode: Literal["wsgi", "asgi"],
    probes: Probes | None = None,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT. Requests in flight are completed.

    With METRICS_PORT and ``probes``, the probes and metrics have their own port, and no other port
    serves ``/metrics``. ``on_stop`` is called when the signal arrives. It must not block.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, settings, mode, probes, on_stop))


async def _serve(
    app: Any,
    settings: ServiceSettings,
    mode: Literal["wsgi", "asgi"],
    probes: Probes | None,
    on_stop: Callable[[], None],
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="http"))
    stopping = asyncio.Event()

    def stop() -> None:
        if not stopping.is_set():
            log.info("stopping")
            stopping.set()
            on_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    certificate = _certificate(settings)
    tls = certificate.context if certificate else None
    main, https = (
        f"{settings.host}:{port}" for port in (settings.port, settings.https_port or settings.port)
    )
    config = ServerConfig(
        https,
        limit=ConnectionLimit(settings.max_connections),
        grace=GRACE_SECONDS,
        tls=tls,
        without_tls=main if settings.https_port else None,
    )
    wrapped: Any = (
        BoundedWsgi(app, max_body_bytes=WSGI_BODY_BYTES) if mode == "wsgi" else ASGIWrapper(app)
    )
    async with asyncio.TaskGroup() as tasks:
        if settings.metrics_port and probes is not None:
            wrapped = _WithoutMetrics(wrapped)
            tasks.create_task(_serve_probes(probes, settings, tls, stopping))
        if certificate is not None:
            tasks.create_task(_renew(certificate, stopping))
        for address in config.insecure_bind:
            log.info("listening", address=address, tls=False)
        log.info("listening", address=https, tls=config.ssl_enabled)
        await worker_serve(wrapped, config, shutdown_trigger=stopping.wait)


async def _serve_probes(
    probes: Probes,
    settings: ServiceSettings,
    tls: SSLContext | None,
    stopping: asyncio.Event,
) -> None:
    config = ServerConfig(
        f"{settings.host}:{settings.metrics_port}",
        limit=ConnectionLimit(METRICS_CONNECTIONS),
        grace=GRACE_SECONDS,
        tls=tls if settings.metrics_tls else None,
    )
    log.info("listening for probes and metrics", address=config.bind[0], tls=config.ssl_enabled)
    await worker_serve(ASGIWrapper(probes.asgi), config, shutdown_trigger=stopping.wait)


def _certificate(settings: ServiceSettings) -> Certificate | None:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    try:
        return Certificate(settings.tls_cert_file, settings.tls_key_file)
    except (OSError, SSLError) as error:
        sys.stderr.write(f"TLS_CERT_FILE and TLS_KEY_FILE cannot be used: {error}\n")
        raise SystemExit(2) from None


async def _renew(certificate: Certificate, stopping: asyncio.Event) -> None:
    """Check regularly for a renewed certificate, until the process stops."""
    while not stopping.is_set():
        try:
            async with asyncio.timeout(CERTIFICATE_SECONDS):
                await stopping.wait()
        except TimeoutError:
            certificate.reload()


class _WithoutMetrics:
    """Answers ``/metrics`` with 404: the metrics have their own port, which no ingress routes."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any, *spawn: Any) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/") == "/metrics":
            problem = Problem(404, "Not Found", "METRICS_PORT serves the metrics.")
            await respond(send, problem.response())
            return
        await self._app(scope, receive, send, *spawn)
