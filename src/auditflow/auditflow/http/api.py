"""The common parts of the REST APIs: prefix, limits, answers, errors and security headers."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct

from auditflow.http.problem import Problem

#: The prefix of all routes.
PREFIX: Final = "/api/v1"
#: Largest request body, in bytes.
MAX_BODY_BYTES: Final = 256 * 1024
#: Seconds after which a client may repeat a request that found a dependency unavailable.
RETRY_AFTER: Final = "2"
#: Headers of an answer with JSON.
JSON_HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
}

#: Body, status and headers.
Answer = tuple[bytes, int, dict[str, str]]


def ok(body: Struct | bytes, *, status: int = HTTPStatus.OK, **headers: str) -> Answer:
    """A successful answer with JSON. Header names have ``_`` for ``-``."""
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return encoded, status, {**JSON_HEADERS, **named}


def problem(status: int, detail: str | None = None, **headers: str) -> Answer:
    """A problem with the title of its status. Header names have ``_`` for ``-``."""
    return Problem(status, HTTPStatus(status).phrase, detail).response(**headers)


def http_problem(error: Any, details: Mapping[int, str] | None = None) -> Answer:
    """The problem of an ``HTTPException`` of werkzeug, such as an unknown address.

    ``details`` are the texts of some statuses. The answer to a method that is not allowed names the
    allowed methods in its header ``Allow``.
    """
    status = error.code or 500
    body, code, headers = problem(status, (details or {}).get(status))
    allowed = [pair for pair in error.get_headers() if pair[0] == "Allow"]
    return body, code, {**headers, **dict(allowed)}


def add_security_headers(app: Any) -> None:
    """Add the security headers to all answers of a Quart application that lack them."""

    async def add_headers(response: Any) -> Any:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response

    app.after_request(add_headers)


async def respond(send: Any, answer: Answer) -> None:
    """Send a complete response of an ASGI application."""
    body, status, headers = answer
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})
