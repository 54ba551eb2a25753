"""Runs a WSGI application on Hypercorn, with limits on request bodies.

A body is read completely before the application is called, because an application that reads from a
slow client would occupy a thread. A short response is sent after the application has returned,
because Hypercorn lets the thread wait for the event loop after each part.
"""

import asyncio
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

from hypercorn.app_wrappers import WSGIWrapper

from auditflow.http.api import respond
from auditflow.http.memory import MemoryBudget, OutOfMemoryBudget, Reservation
from auditflow.http.problem import Problem

#: The maximum time for a complete body, in seconds.
BODY_SECONDS: Final = 30.0
#: The maximum size of all bodies together, as a multiple of the maximum size of one body.
BODIES: Final = 16
#: A client that still sends sees the response only after its body is read. The maximum time for it,
#: in seconds, and the maximum number of bytes, as a multiple of the maximum size of a body.
DISCARD_SECONDS: Final = 5.0
DISCARD_BODIES: Final = 4
#: The maximum size of a response that is sent after the application has returned, in bytes.
_SHORT_BYTES: Final = 1024 * 1024


class _Refused(Exception):
    """The request is answered without the application."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem = problem


class BoundedWsgi(WSGIWrapper):
    """A WSGI application whose bodies are limited in size, in total memory and in time."""

    def __init__(self, app: Any, *, max_body_bytes: int) -> None:
        super().__init__(_with_first_chunk(app), max_body_bytes)
        self._budget = MemoryBudget(BODIES * max_body_bytes)

    async def handle_http(
        self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any
    ) -> None:
        """Read the body, then call the application. Called by Hypercorn for each request."""
        with Reservation(self._budget) as reservation:
            try:
                body = await self._read(scope, receive, reservation)
            except _Refused as refused:
                await _discard(receive, DISCARD_BODIES * self.max_body_size)
                await respond(send, refused.problem.response())
                return
            if body is None:
                return

            async def receive_body() -> Any:
                return {"type": "http.request", "body": body, "more_body": False}

            response = _Response(send, call_soon)

            async def run(function: Any, *arguments: Any) -> None:
                await sync_spawn(function, *arguments)
                await response.finish()

            await super().handle_http(scope, receive_body, send, run, response.add)

    async def _read(self, scope: Any, receive: Any, reservation: Reservation) -> bytes | None:
        """The body; None if the client has disconnected."""
        parts: list[bytes] = []
        size = _declared_length(scope)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                if size > self.max_body_size:
                    raise _Refused(self._too_large())
                size = 0
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self.max_body_size:
                        raise _Refused(self._too_large())
                    reservation.add(len(parts[-1]))
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            detail = f"The body was not complete within {BODY_SECONDS:g} s."
            raise _Refused(Problem(408, "Request Timeout", detail)) from None
        except OutOfMemoryBudget:
            detail = "The service receives too many large bodies now. Send the request again."
            raise _Refused(Problem(503, "Service Unavailable", detail)) from None

    def _too_large(self) -> Problem:
        detail = f"The body is larger than {self.max_body_size} bytes."
        return Problem(413, "Content Too Large", detail)


class _Response:
    """The messages of one response. A thread adds them."""

    def __init__(self, send: Any, call_soon: Any) -> None:
        self._send = send
        self._call_soon = call_soon
        self._kept: list[Any] = []
        self._is_short = False

    def add(self, send: Any, message: Any) -> None:
        """Keep a message of a short response. Send one of another response, and wait for it."""
        if message["type"] == "http.response.start":
            self._is_short = _is_short(message)
        if self._is_short:
            self._kept.append(message)
        else:
            self._call_soon(send, message)

    async def finish(self) -> None:
        """Send the messages that were kept."""
        for message in self._kept:
            await self._send(message)


def _is_short(start: Any) -> bool:
    """Whether a response has a body of a known, short length, or none."""
    if start["status"] in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return True
    lengths = [value for name, value in start["headers"] if name == b"content-length"]
    return len(lengths) == 1 and lengths[0].isdigit() and int(lengths[0][:20]) <= _SHORT_BYTES


def _declared_length(scope: Any) -> int:
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def _discard(receive: Any, limit: int) -> None:
    """Read the rest of a body without keeping it."""
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while limit > 0:
                message = await receive()
                limit -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _with_first_chunk(app: Any) -> Callable[[Any, Any], Iterator[bytes]]:
    """Give responses without a body (to HEAD, 204, 304) one empty chunk.

    Hypercorn sends the status with the first chunk, and responds with 500 if there is none.
    """

    def wrapped(environ: Any, start_response: Any) -> Iterator[bytes]:
        # Hypercorn passes complete bodies. Without this flag, a chunked body reads as empty.
        environ["wsgi.input_terminated"] = True
        body = app(environ, start_response)
        try:
            chunk = None
            for chunk in body:
                yield chunk
            if chunk is None:
                yield b""
        finally:
            if hasattr(body, "close"):
                body.close()

    return wrapped
