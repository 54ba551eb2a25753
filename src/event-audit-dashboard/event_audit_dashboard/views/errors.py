"""Error pages."""

from flask import Flask, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError

from auditflow.errors import Unavailable
from auditflow.http.middleware import correlation_id
from auditflow.telemetry import logs
from event_audit_dashboard.errors import (
    ApiError,
    FilterRejected,
    NotAllowed,
    NotFound,
    TooManyRequests,
)
from event_audit_dashboard.localization.translation import N_, gettext
from event_audit_dashboard.presentation.text import sentence
from event_audit_dashboard.rendering.last_pages import LastPage, LastPages
from event_audit_dashboard.views import sign_in
from event_audit_dashboard.views.common import notify, referrer

#: Interval at which the outage page tries again, in seconds.
RETRY_SECONDS = 5
#: The API counts the requests of a person by the minute.
LIMIT_SECONDS = 60
_MESSAGES = {
    400: (
        N_("Invalid request"),
        N_("The server could not process this request."),
    ),
    404: (
        N_("Page not found"),
        N_("Check the address. The page may have moved."),
    ),
    405: (
        N_("Method not allowed"),
        N_("This page does not support this request method."),
    ),
    413: (
        N_("Request too large"),
        N_("The form is larger than the server accepts."),
    ),
}


def add(app: Flask, last_pages: LastPages) -> None:
    """Register the error pages. During an outage of an API, they contain the last data."""
    log = logs.get(__name__)

    @app.errorhandler(CSRFError)
    def invalid_form(error: CSRFError) -> ResponseReturnValue:
        return sign_in.handle_invalid_form(error) or _page(
            400,
            gettext("This form is no longer valid"),
            gettext(
                "It was open for too long, or another site sent it. Reload the page and try again."
            ),
        )

    @app.errorhandler(ApiError)
    def api(error: ApiError) -> ResponseReturnValue:
        if isinstance(error, NotFound):
            is_alert = request.path.startswith("/alerts")
            return _page(
                404,
                gettext("Alert not found") if is_alert else gettext("Not found"),
                gettext("It may have been deleted after its retention time."),
            )
        if isinstance(error, FilterRejected):
            return _page(400, gettext("Invalid filter"), sentence(error))
        log.warning("alerts cannot be loaded", reason=error.reason, detail=str(error))
        # A person who has lost the permission sees no old data either.
        last = None if isinstance(error, NotAllowed) else last_pages.of_request()
        if isinstance(error, TooManyRequests) and last is None:
            return _too_many_requests(error.text)
        return _outage(error.text, error.status, last)

    @app.errorhandler(Unavailable)
    def unavailable(error: Unavailable) -> ResponseReturnValue:
        log.warning("a server is unavailable", detail=str(error))
        return _outage(
            gettext("sessions cannot be checked, because Redis does not respond"), 503, None
        )

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> ResponseReturnValue:
        code = error.code or 500
        if code < 400 or error.response is not None:
            return error
        response = make_response(_page(code, *map(gettext, _MESSAGES.get(code, (error.name, "")))))
        for name, value in error.get_headers():
            if name in {"Allow", "Retry-After"}:
                response.headers[name] = value
        return response

    @app.errorhandler(InternalServerError)
    def internal(_: InternalServerError) -> ResponseReturnValue:
        log.error("page failed", path=request.path)
        return _page(
            500,
            gettext("Internal error"),
            gettext(
                "The dashboard could not create this page. "
                "The log of the dashboard contains the reason."
            ),
        )


def _outage(reason: str, status: int, last: LastPage | None) -> ResponseReturnValue:
    is_action = request.method not in {"GET", "HEAD"}
    if is_action:
        # htmx shows this notice and keeps the page.
        notify(
            gettext("The action failed: %(reason)s. Check it after the outage.", reason=reason),
            error=True,
        )
    page = render_template(
        "outage.html",
        reason=reason,
        retry_seconds=RETRY_SECONDS,
        reference=correlation_id(request.environ),
        loaded_at=last.loaded_at if last else None,
        last_data=last.main() if last else None,
        is_action=is_action,
        back=referrer() if is_action else "",
    )
    return page, status, {"Retry-After": str(RETRY_SECONDS), "HX-Reswap": "none"}


def _too_many_requests(reason: str) -> ResponseReturnValue:
    """The API did nothing, so it is certain that an action was not done."""
    is_action = request.method not in {"GET", "HEAD"}
    if is_action:
        notify(
            gettext("The action was not done: %(reason)s. Wait a minute.", reason=reason),
            error=True,
        )
    done = gettext("The action was not done.") if is_action else ""
    wait = gettext("Wait a minute and try again.")
    text = " ".join(filter(None, (f"{reason[0].upper()}{reason[1:]}.", done, wait)))
    page, status = _page(TooManyRequests.status, gettext("Too many requests"), text)
    return page, status, {"Retry-After": str(LIMIT_SECONDS), "HX-Reswap": "none"}


def _page(code: int, title: str, message: str) -> tuple[str, int]:
    page = render_template(
        "error.html",
        code=code,
        title=title,
        message=message,
        reference=correlation_id(request.environ),
    )
    return page, code
