"""Responses, and the problem documents (RFC 9457) of errors. They have no internal details."""

import re
from typing import Any, Final

import msgspec
from msgspec import Struct
from quart import Quart
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from audit_event_generator.ingest.raw_json import MalformedJSON
from audit_event_generator.tokens import NotPermitted
from auditflow.errors import ContractError
from auditflow.http.problem import CONTENT_TYPE, Fault, Problem
from auditflow.telemetry import logs

#: The service reconnects to the broker within this time, in seconds.
_RETRY_AFTER_SECONDS: Final = 3
_LOCATED: Final = re.compile(r"(?P<what>.*) - at `(?P<where>\$.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<field>[^`]+)`")

log = logs.get(__name__)


class Response(Struct, frozen=True):
    """A response of the ingest."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def respond(problem: Problem, **headers: str) -> Response:
    """Return a problem document as a response."""
    return Response(
        problem.status, msgspec.json.encode(problem), CONTENT_TYPE, tuple(headers.items())
    )


def accepted(content: Any) -> Response:
    """Return the response 202 with content as JSON."""
    return Response(202, msgspec.json.encode(content))


def contract(error: ContractError) -> Response:
    """Return 400 if the input is not JSON, 403 if the token forbids it, and 422 otherwise."""
    if isinstance(error, MalformedJSON):
        return respond(Problem(400, "Bad Request", str(error)))
    if isinstance(error, NotPermitted):
        return respond(Problem(403, "Forbidden", str(error), errors=(fault(error),)))
    return respond(Problem(422, "Unprocessable Content", str(error), errors=(fault(error),)))


def fault(error: ContractError) -> Fault:
    """Return the field and the reason."""
    text = str(error)
    located = _LOCATED.fullmatch(text)
    where, what = (located["where"], located["what"]) if located else ("$", text)
    missing = _MISSING.fullmatch(what)
    return Fault(f"{where}.{missing['field']}", "is required") if missing else Fault(where, what)


def unavailable() -> Response:
    """Return the response to events that the broker did not confirm."""
    problem = Problem(
        503,
        "Service Unavailable",
        "The broker did not confirm the events. Send them again. An event that has an identifier "
        "keeps it.",
    )
    return respond(problem, **{"Retry-After": str(_RETRY_AFTER_SECONDS)})


def unexpected(error: Exception) -> Response:
    """Log an exception, and return the response without its text."""
    log.error("request failed", exc_info=error)
    problem = Problem(500, "Internal Server Error", "The service failed. Its log has the reason.")
    return respond(problem)


def method_not_allowed(*methods: str) -> Response:
    """Return the response to another method."""
    allowed = ", ".join(sorted(methods))
    problem = Problem(405, "Method Not Allowed", f"This address accepts {allowed}.")
    return respond(problem, Allow=allowed)


def add_handlers(app: Quart) -> None:
    """Register the error handlers of the other routes."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _http(error: HTTPException) -> tuple[bytes, int, dict[str, str]]:
    status = error.code or 500
    detail = error.description
    headers = {}
    if status == 404:
        detail = "This address does not exist."
    elif isinstance(error, MethodNotAllowed) and error.valid_methods:
        allowed = ", ".join(sorted(error.valid_methods))
        detail, headers = f"This address accepts {allowed}.", {"Allow": allowed}
    return Problem(status, error.name, detail).response(**headers)


def _unexpected(error: Exception) -> tuple[bytes, int, dict[str, str]]:
    response = unexpected(error)
    return response.body, response.status, {"Content-Type": response.content_type}
