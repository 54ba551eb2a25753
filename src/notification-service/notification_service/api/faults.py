"""Errors over HTTP: problem details, and nothing of the inside."""

from http import HTTPStatus

from quart import Quart, request
from werkzeug.exceptions import HTTPException

from auditflow.errors import Unavailable
from auditflow.http.problem import Problem
from auditflow.telemetry import logs
from notification_service.query import BadQuery

log = logs.get(__name__)

Answer = tuple[bytes, int, dict[str, str]]
#: Seconds after which a client may try again when the database was away.
RETRY_AFTER = "2"


def problem(status: HTTPStatus, detail: str | None = None, **headers: str) -> Answer:
    """A problem whose title is the one of its status."""
    return Problem(status=status, title=status.phrase, detail=detail).response(**headers)


def add(app: Quart) -> None:
    """Answer every error of an application."""

    async def bad_query(error: BadQuery) -> Answer:
        return Problem(
            status=HTTPStatus.BAD_REQUEST,
            title="Wrong parameters",
            detail=str(error),
            errors=error.faults,
        ).response()

    async def unavailable(error: Unavailable) -> Answer:
        log.warning("request not answered", path=request.path, error=str(error))
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The database does not answer now. Nothing is known about alerts until it does.",
            Retry_After=RETRY_AFTER,
        )

    async def refused(error: HTTPException) -> Answer:
        status = HTTPStatus(error.code or 500)
        body, code, headers = problem(status, _DETAILS.get(status))
        allowed = [pair for pair in error.get_headers() if pair[0] == "Allow"]
        return body, code, {**headers, **dict(allowed)}

    async def unexpected(error: Exception) -> Answer:
        log.error("request failed", path=request.path, exc_info=error)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed; its log has the reason."
        )

    app.register_error_handler(BadQuery, bad_query)
    app.register_error_handler(Unavailable, unavailable)
    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(Exception, unexpected)


_DETAILS = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address. See /docs for what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address has no such method.",
}
