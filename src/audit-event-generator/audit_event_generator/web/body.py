"""Read a request's body as it arrives: with limits, and decompressed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from audit_event_generator.web.gzip_stream import GzipError, GzipStream
from auditflow.http.memory import OutOfMemoryBudget, Reservation
from auditflow.http.problem import Problem
from auditflow.http.serving import MAX_BODY_BYTES
from auditflow.http.wsgi import DISCARD_BODIES, DISCARD_SECONDS

Receive = Callable[[], Awaitable[Any]]

#: Maximum time for a complete body, in seconds.
BODY_SECONDS: Final = 60.0
#: Maximum number of bytes of a refused request that are read and discarded, so that the client sees
#: the response instead of a closed connection; and the time for it, in seconds.
_DISCARD_BYTES: Final = DISCARD_BODIES * MAX_BODY_BYTES
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ENCODINGS: Final = ("identity", "gzip", "x-gzip", "")


class BodyError(Exception):
    """The body cannot be used. ``problem`` is the response."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class ClientDisconnected(Exception):
    """The client closed the connection before the body was complete."""


class Incoming:
    """The body of a request as it arrives."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_complete = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes that were not read before.

        Raises:
            ClientDisconnected: the client closed the connection.
        """
        while not self._is_complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            self._is_complete = not message.get("more_body")
            chunk = message.get("body", b"")
            if chunk:
                yield chunk


async def read(incoming: Incoming, encoding: str, reservation: Reservation, *, limit: int) -> bytes:
    """Return the body, decompressed if the encoding or its first bytes say gzip.

    ``limit`` is the maximum size in bytes, both compressed and decompressed. The bytes that are
    kept are added to the reservation.

    Raises:
        BodyError: the body is too large, too slow or damaged, has another encoding, or the bodies
            of all requests together are too large.
        ClientDisconnected: there is no one to answer.
    """
    if encoding not in _ENCODINGS:
        raise BodyError(
            Problem(415, "Unsupported Media Type", "Content-Encoding must be gzip, or absent.")
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(incoming, encoding, reservation, limit)
    except TimeoutError:
        detail = f"The body was not complete within {BODY_SECONDS:g} s."
        raise BodyError(Problem(408, "Request Timeout", detail)) from None
    except GzipError as error:
        raise BodyError(Problem(400, "Bad Request", str(error))) from None
    except OutOfMemoryBudget:
        detail = "The service receives too many large bodies now. Send the same request again."
        raise BodyError(Problem(503, "Service Unavailable", detail)) from None


async def discard(incoming: Incoming) -> None:
    """Read the rest of a refused request without keeping it, within limits."""
    remaining = _DISCARD_BYTES
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            async for chunk in incoming.chunks():
                remaining -= len(chunk)
                if remaining < 0:
                    return
    except (TimeoutError, ClientDisconnected):
        return


async def _read(incoming: Incoming, encoding: str, reservation: Reservation, limit: int) -> bytes:
    kept: list[bytes] = []
    stream: GzipStream | None = None
    head, received = b"", 0
    is_decided = False
    async for chunk in incoming.chunks():
        received += len(chunk)
        if received > limit:
            raise BodyError(_too_large("body", limit))
        head += chunk
        if not is_decided and len(head) < len(_GZIP_MAGIC):
            continue
        if not is_decided and head.startswith(_GZIP_MAGIC):
            # A file that is posted as stored in S3 has no header. JSON never starts so.
            stream = GzipStream(limit=limit)
        is_decided, piece, head = True, head, b""
        if stream is None:
            reservation.add(len(piece))
            kept.append(piece)
            continue
        try:
            for content in stream.feed(piece):
                reservation.add(len(content))
                kept.append(content)
        except OverflowError:
            raise BodyError(_too_large("decompressed body", limit)) from None
    kept.append(head)
    if stream is not None:
        stream.finish()
    elif encoding.endswith("gzip") and received:
        raise GzipError("Content-Encoding is gzip, but the body is not gzip.")
    return b"".join(kept)


def _too_large(what: str, limit: int) -> Problem:
    return Problem(413, "Content Too Large", f"The {what} is larger than {limit} bytes.")
