"""Whether the API behind a page responds. Open pages request this, to report an outage."""

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from event_audit_dashboard.apis.client import ApiClient
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import ApiError, NotAllowed
from event_audit_dashboard.localization.translation import current
from event_audit_dashboard.views.common import caller, person

#: Time for which all tabs of a user share a state, in seconds.
SHARED_SECONDS = 2.0


def blueprint(api: NotificationService, others: dict[str, ApiClient]) -> Blueprint:
    """``GET /status``: 200, or the status and the reason of the outage as text.

    The parameter ``page`` is the blueprint of a page. ``others`` are the APIs that a page needs
    besides the notification service.
    """
    pages = Blueprint("status", __name__)
    states: TimedCache[tuple[int, str]] = TimedCache(seconds=SHARED_SECONDS)

    @pages.get("/status")
    def show() -> ResponseReturnValue:
        page = request.args.get("page", "")
        language = current().code
        other = others.get(page)
        status, text = states.get(f"api {language} {person()}", lambda: _read(api))
        if status == 200 and other is not None:
            status, text = states.get(f"page {language} {page}", lambda: _check(other))
        return Response(text, status, content_type="text/plain; charset=utf-8")

    return pages


def _read(api: NotificationService) -> tuple[int, str]:
    """Whether the API can read its database."""
    try:
        api.me(caller())
    except NotAllowed:
        return 200, ""
    except ApiError as error:
        return error.status, error.text
    return 200, ""


def _check(client: ApiClient) -> tuple[int, str]:
    problem = client.check()
    return (200, "") if problem is None else (503, problem)
