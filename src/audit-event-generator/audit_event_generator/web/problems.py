"""Convert every error to a problem document (RFC 9457) without internal details."""

import re
from typing import Final

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from audit_event_generator.ingest.raw_json import MalformedJSON
from auditflow.errors import ContractError, Unavailable
from auditflow.http.problem import Fault, Problem
from auditflow.telemetry import logs

Answer = tuple[bytes, int, dict[str, str]]
#: The service reconnects to the broker within this time.
_RETRY_AFTER_SECONDS: Final = 3
_LOCATED: Final = re.compile(r"(?P<what>.*) - at `(?P<where>\$.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<field>[^`]+)`")

log = logs.get(__name__)


def add_handlers(app: Flask) -> None:
    """Register the error handlers of an application."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(Exception, _unexpected)


def contract(error: ContractError) -> Problem:
    """Return 400 if the input is not JSON, and 422 if it violates the contract."""
    if isinstance(error, MalformedJSON):
        return Problem(400, "Bad Request", str(error))
    return Problem(422, "Unprocessable Content", str(error), errors=(fault(error),))


def fault(error: ContractError) -> Fault:
    """Return the field and the reason."""
    text = str(error)
    located = _LOCATED.fullmatch(text)
    where, what = (located["where"], located["what"]) if located else ("$", text)
    missing = _MISSING.fullmatch(what)
    return Fault(f"{where}.{missing['field']}", "is required") if missing else Fault(where, what)


def _http(error: HTTPException) -> Answer:
    status = error.code or 500
    detail = error.description
    headers = {}
    if status == 404:
        detail = "This address does not exist."
    elif isinstance(error, MethodNotAllowed) and error.valid_methods:
        allowed = ", ".join(sorted(error.valid_methods))
        detail, headers = f"This address accepts {allowed}.", {"Allow": allowed}
    return Problem(status, error.name, detail).response(**headers)


def _unavailable(_: Unavailable) -> Answer:
    problem = Problem(
        503,
        "Service Unavailable",
        "The broker did not confirm the events. Send them again. An event that has an identifier "
        "keeps it.",
    )
    return problem.response(Retry_After=str(_RETRY_AFTER_SECONDS))


def _unexpected(error: Exception) -> Answer:
    log.error("request failed", exc_info=error)
    return Problem(
        500, "Internal Server Error", "The service failed. Its log has the reason."
    ).response()
