"""What people see when something is not as it should be, in the look of all other pages."""

from flask import Flask, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError

from auditflow.telemetry import logs
from event_audit_dashboard.errors import ApiError, FilterRefused, NoSuchAlert
from event_audit_dashboard.observe import correlation_id
from event_audit_dashboard.presentation.text import shorten

#: How soon a page that shows an outage looks again.
AGAIN_SECONDS = 5
_WORDS = {
    400: ("That request was not understood", "The browser sent something unexpected."),
    404: ("There is no such page", "The address may be mistyped, or the page may have moved."),
    405: ("That is not how this page works", "It exists, but not for this kind of request."),
    413: ("That was too much", "The form was larger than this page accepts."),
}


def add(app: Flask) -> None:
    """The pages of all errors."""
    log = logs.get(__name__)

    @app.errorhandler(CSRFError)
    def expired(_: CSRFError) -> ResponseReturnValue:
        return _page(
            400,
            "This form is no longer valid",
            "It was open for too long, or came from elsewhere. Go back, reload and try again.",
        )

    @app.errorhandler(ApiError)
    def api(error: ApiError) -> ResponseReturnValue:
        if isinstance(error, NoSuchAlert):
            return _page(404, "There is no such alert", "It may have been removed after its time.")
        if isinstance(error, FilterRefused):
            return _page(400, "This filter does not work", shorten(str(error), 300))
        log.warning("alerts cannot be loaded", reason=error.reason, detail=str(error))
        page = render_template(
            "outage.html", why=str(error), again=AGAIN_SECONDS, reference=correlation_id()
        )
        return page, error.status, {"Retry-After": str(AGAIN_SECONDS)}

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> ResponseReturnValue:
        code = error.code or 500
        if code < 400 or error.response is not None:
            return error
        response = make_response(_page(code, *_WORDS.get(code, (error.name, ""))))
        for name, value in error.get_headers():
            if name in {"Allow", "Retry-After"}:
                response.headers[name] = value
        return response

    @app.errorhandler(InternalServerError)
    def internal(_: InternalServerError) -> ResponseReturnValue:
        log.error("page failed", path=request.path)
        return _page(
            500,
            "Something went wrong here",
            "The dashboard failed at this page; its log has the reason.",
        )


def _page(code: int, title: str, words: str) -> tuple[str, int]:
    page = render_template(
        "error.html", code=code, title=title, words=words, reference=correlation_id()
    )
    return page, code
