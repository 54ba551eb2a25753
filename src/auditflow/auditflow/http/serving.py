"""Serving HTTP with Hypercorn, and the orderly end of a process."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, TypeVar

import hypercorn.asyncio
from hypercorn.app_wrappers import WSGIWrapper
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config
from pydantic_settings import BaseSettings

from auditflow import settings, worker
from auditflow.errors import SettingsError
from auditflow.http.problem import Problem
from auditflow.settings import ServiceSettings
from auditflow.telemetry import logs, tracing

#: Requests that a WSGI service works on at once. Each may wait a second for the broker, and none
#: may wait for another's thread.
THREADS: Final = 64
#: How long requests in flight may go on after SIGTERM. Closing what is behind them has the rest
#: of the ten seconds that a service has.
GRACE_SECONDS: Final = 3.0
#: The largest request body, in bytes; routes may allow less.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024

S = TypeVar("S", bound=BaseSettings)


def start(service: str, kind: type[S], run: Callable[[S], None]) -> None:
    """The body of a service's ``main``: settings, logs and tracing, then ``run`` until it ends.

    Settings that are missing or wrong end the process with code 2 and a line for each variable.
    """
    try:
        loaded = settings.load(kind)
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
    to: ServiceSettings,
    *,
    mode: Literal["wsgi", "asgi"],
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT: then no new requests, those in flight end, and it returns.

    ``on_stop`` is called the moment the signal comes, and must not block.
    """
    config = Config()
    config.bind = [f"{to.host}:{to.port}"]
    config.graceful_timeout = GRACE_SECONDS
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    asyncio.run(_serve(app, config, mode, on_stop))


def _never_empty(app: Any) -> Callable[[Any, Any], Iterator[bytes]]:
    """Give answers without a body (to HEAD, and 204 and 304) one empty piece.

    Hypercorn sends the status with the first piece, and answers 500 when there is none.
    """

    def wrapped(environ: Any, start_response: Any) -> Iterator[bytes]:
        # Hypercorn passes complete bodies. Without this flag, a chunked body reads as empty.
        environ["wsgi.input_terminated"] = True
        body = app(environ, start_response)
        try:
            piece = None
            for piece in body:
                yield piece
            if piece is None:
                yield b""
        finally:
            if hasattr(body, "close"):
                body.close()

    return wrapped


class _TooLarge(Exception):
    """A request body has more bytes than any route takes."""


class _Wsgi(WSGIWrapper):
    """Answers 413 to a body that is too large; Hypercorn would say 400, without a word."""

    def __init__(self, app: Any) -> None:
        super().__init__(_never_empty(app), MAX_BODY_BYTES)

    async def handle_http(
        self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any
    ) -> None:
        read = 0

        async def bounded() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY_BYTES:
                # A client that still writes would not see the answer: let it finish, within reason.
                while message.get("more_body") and read <= 4 * MAX_BODY_BYTES:
                    message = await receive()
                    read += len(message.get("body", b""))
                raise _TooLarge
            return message

        try:
            await super().handle_http(scope, bounded, send, sync_spawn, call_soon)
        except _TooLarge:
            detail = f"The body is more than the {MAX_BODY_BYTES} bytes allowed."
            body, status, headers = Problem(413, "Content Too Large", detail).response()
            named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": status, "headers": named})
            await send({"type": "http.response.body", "body": body, "more_body": False})


async def _serve(
    app: Any, config: Config, mode: Literal["wsgi", "asgi"], on_stop: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="http"))
    stopping = asyncio.Event()
    log = logs.get(__name__)

    def stop() -> None:
        if not stopping.is_set():
            log.info("stopping")
            stopping.set()
            on_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    log.info("listening", address=config.bind[0])
    if mode == "wsgi":
        await worker_serve(_Wsgi(app), config, shutdown_trigger=stopping.wait)
    else:
        await hypercorn.asyncio.serve(app, config, mode=mode, shutdown_trigger=stopping.wait)
