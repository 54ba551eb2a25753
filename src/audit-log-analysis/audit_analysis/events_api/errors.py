"""Errors over HTTP: problem details (RFC 9457), without internal details."""

from quart import Quart, request
from werkzeug.exceptions import HTTPException

from audit_analysis.events_api.callers import Refusal
from audit_analysis.events_api.database import (
    DamagedFile,
    SearchCancelled,
    SearchTimeout,
    SearchTooLarge,
    TooManySearches,
)
from audit_analysis.hunt.runner import TooManyHunts
from auditflow.errors import Unavailable
from auditflow.http.api import RETRY_AFTER, Answer, http_problem, problem
from auditflow.http.problem import Problem
from auditflow.http.query_parameters import InvalidParameters
from auditflow.telemetry import logs

log = logs.get(__name__)


def add(app: Quart) -> None:
    """Answer every error of an application with a problem."""
    for kind, handler in (
        (InvalidParameters, _invalid_parameters),
        (Refusal, _refusal),
        (TooManySearches, _too_many_searches),
        (TooManyHunts, _too_many_hunts),
        (SearchTimeout, _too_expensive),
        (SearchTooLarge, _too_expensive),
        (SearchCancelled, _cancelled),
        (DamagedFile, _damaged_file),
        (Unavailable, _unavailable),
        (HTTPException, _http_error),
        (Exception, _unexpected),
    ):
        app.register_error_handler(kind, handler)


async def _invalid_parameters(error: InvalidParameters) -> Answer:
    return Problem(400, "Invalid parameters", str(error), error.faults).response()


async def _refusal(error: Refusal) -> Answer:
    headers = {"WWW_Authenticate": 'Bearer realm="auditflow"'} if error.status == 401 else {}
    if error.retry_after is not None:
        headers["Retry_After"] = error.retry_after
    return problem(error.status, str(error), **headers)


async def _too_many_searches(error: TooManySearches) -> Answer:
    return problem(503, f"The search did not start: {error}.", Retry_After=RETRY_AFTER)


async def _too_many_hunts(error: TooManyHunts) -> Answer:
    return problem(503, f"The hunt was not accepted: {error}.", Retry_After="60")


async def _too_expensive(error: SearchTimeout | SearchTooLarge) -> Answer:
    return problem(
        503, f"The search was stopped: {error}. Use a shorter time range or more conditions."
    )


async def _cancelled(error: SearchCancelled) -> Answer:
    return problem(503, f"The search was stopped: {error}.")


async def _damaged_file(error: DamagedFile) -> Answer:
    log.error("request failed: a file is damaged or missing", path=request.path, error=str(error))
    return problem(
        503,
        "A file of the archive is damaged or missing. The command `auditflow audit verify --files`"
        " names it. Other time ranges can be searched.",
    )


async def _unavailable(error: Unavailable) -> Answer:
    log.warning("request failed: dependency unavailable", path=request.path, error=str(error))
    return problem(
        503, "The archive is unavailable. Repeat the request later.", Retry_After=RETRY_AFTER
    )


async def _http_error(error: HTTPException) -> Answer:
    return http_problem(error)


async def _unexpected(error: Exception) -> Answer:
    log.error("request failed", path=request.path, exc_info=error)
    return problem(500, "The service failed. Its log contains the reason.")
