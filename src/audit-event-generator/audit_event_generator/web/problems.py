"""Every error as problem details (RFC 9457), and nothing internal in any."""

import re
from typing import Final

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from audit_event_generator.ingest.envelope import Malformed
from auditflow.errors import ContractError, Unavailable
from auditflow.http.problem import Fault, Problem
from auditflow.telemetry import logs

Answer = tuple[bytes, int, dict[str, str]]
#: What a client should wait: a broker that is back is found again within so many seconds.
_RETRY_AFTER_SECONDS: Final = 3
_PLACE: Final = re.compile(r"(?P<what>.*) - at `(?P<where>\$.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<field>[^`]+)`")

log = logs.get(__name__)


def add_handlers(app: Flask) -> None:
    """Make every error of an application an answer of ours."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(Exception, _unexpected)


def contract(error: ContractError) -> Problem:
    """What a client did wrong: 400 for what is no JSON, 422 for what does not fit."""
    if isinstance(error, Malformed):
        return Problem(400, "Bad Request", str(error))
    return Problem(422, "Unprocessable Content", str(error), errors=(fault(error),))


def fault(error: ContractError) -> Fault:
    """The field that is wrong, and what is wrong with it."""
    text = str(error)
    place = _PLACE.fullmatch(text)
    where, what = (place["where"], place["what"]) if place else ("$", text)
    missing = _MISSING.fullmatch(what)
    return Fault(f"{where}.{missing['field']}", "is required") if missing else Fault(where, what)


def _http(error: HTTPException) -> Answer:
    status = error.code or 500
    detail = error.description
    headers = {}
    if status == 404:
        detail = "There is nothing at this address."
    elif isinstance(error, MethodNotAllowed) and error.valid_methods:
        allowed = ", ".join(sorted(error.valid_methods))
        detail, headers = f"This address takes {allowed}.", {"Allow": allowed}
    return Problem(status, error.name, detail).response(**headers)


def _unavailable(_: Unavailable) -> Answer:
    problem = Problem(
        503,
        "Service Unavailable",
        "The broker did not confirm the events. Send them again: they keep their identifiers "
        "where they have one.",
    )
    return problem.response(Retry_After=str(_RETRY_AFTER_SECONDS))


def _unexpected(error: Exception) -> Answer:
    log.error("a request failed", exc_info=error)
    return Problem(500, "Internal Server Error", "The service failed. Its log says why.").response()
