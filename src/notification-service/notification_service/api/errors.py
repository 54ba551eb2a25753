"""Errors over HTTP: problem details (RFC 9457), without internal details."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from quart import Quart, request
from werkzeug.exceptions import HTTPException

from auditflow.contract.triage import TransitionProblem
from auditflow.errors import TooSlow, Unavailable
from auditflow.http.api import RETRY_AFTER, Answer, http_problem, problem
from auditflow.http.problem import Fault, Problem
from auditflow.http.query_parameters import InvalidParameters
from auditflow.telemetry import logs
from notification_service.api.callers import Forbidden, TooManyRequests, Unauthorized
from notification_service.api.requests import InvalidBody, PreconditionRequired
from notification_service.database.triage_store import UnknownAlert, VersionMismatch
from notification_service.triage import IllegalTransition, InvalidAction

log = logs.get(__name__)


def add(app: Quart) -> None:
    """Answer every error of an application with a problem."""
    app.register_error_handler(InvalidParameters, _invalid_parameters)
    app.register_error_handler(InvalidBody, _invalid_body)
    app.register_error_handler(InvalidAction, _invalid_action)
    app.register_error_handler(PreconditionRequired, _precondition_required)
    app.register_error_handler(VersionMismatch, _version_mismatch)
    app.register_error_handler(IllegalTransition, _illegal_transition)
    app.register_error_handler(UnknownAlert, _unknown_alert)
    app.register_error_handler(Unauthorized, _unauthorized)
    app.register_error_handler(Forbidden, _forbidden)
    app.register_error_handler(TooManyRequests, _too_many_requests)
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


async def _invalid_parameters(error: InvalidParameters) -> Answer:
    return Problem(
        status=HTTPStatus.BAD_REQUEST,
        title="Invalid parameters",
        detail=str(error),
        errors=error.faults,
    ).response()


async def _invalid_body(error: InvalidBody) -> Answer:
    return Problem(
        status=HTTPStatus.BAD_REQUEST,
        title="Invalid request body",
        detail=str(error),
        errors=error.faults,
    ).response()


async def _invalid_action(error: InvalidAction) -> Answer:
    where, _, what = str(error).partition(": ")
    return Problem(
        status=HTTPStatus.BAD_REQUEST,
        title="Invalid action",
        detail=str(error),
        errors=(Fault(where, what),),
    ).response()


async def _precondition_required(error: PreconditionRequired) -> Answer:
    return problem(HTTPStatus.PRECONDITION_REQUIRED, str(error))


async def _version_mismatch(error: VersionMismatch) -> Answer:
    return problem(
        HTTPStatus.PRECONDITION_FAILED,
        "Another action changed the alert since you read it. Read it again.",
        ETag=f'"{error.current}"',
    )


async def _illegal_transition(error: IllegalTransition) -> Answer:
    return TransitionProblem(
        status=HTTPStatus.CONFLICT,
        title="The alert does not allow this action",
        detail=str(error),
        allowed_actions=error.allowed,
    ).response()


async def _unknown_alert(error: UnknownAlert) -> Answer:
    return problem(HTTPStatus.NOT_FOUND, f"{str(error)[:1].upper()}{str(error)[1:]}.")


async def _unauthorized(error: Unauthorized) -> Answer:
    return problem(HTTPStatus.UNAUTHORIZED, str(error), WWW_Authenticate='Bearer realm="auditflow"')


async def _forbidden(error: Forbidden) -> Answer:
    return problem(HTTPStatus.FORBIDDEN, str(error))


async def _too_many_requests(error: TooManyRequests) -> Answer:
    return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), Retry_After=str(error.retry_after))


async def _unavailable(error: Unavailable) -> Answer:
    log.warning("request failed: dependency unavailable", path=request.path, error=str(error))
    if isinstance(error, TooSlow):
        detail = "The request took too long. Use a narrower filter, for example a range of time."
    elif error.dependency == "rabbitmq":
        detail = "The broker is unavailable. The state of the queues is unknown until it answers."
    else:
        detail = "The database is unavailable. The state of the alerts is unknown until it answers."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, Retry_After=RETRY_AFTER)


async def _http_error(error: HTTPException) -> Answer:
    return http_problem(error, _DETAILS)


async def _unexpected(error: Exception) -> Answer:
    log.error("request failed", path=request.path, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed. Its log contains the reason."
    )


_DETAILS: Final[Mapping[int, str]] = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address. See /docs for all addresses.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not support this method.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request body is too large.",
}
