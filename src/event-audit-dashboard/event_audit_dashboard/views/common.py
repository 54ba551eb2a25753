"""What all views need: the signed-in person, API callers, and notices after an action."""

from typing import Any
from urllib.parse import urlsplit

from flask import g, request, session

from auditflow.http.middleware import correlation_id
from event_audit_dashboard.apis.client import Caller

MAX_NOTICES = 3


def person() -> str:
    """The name of the signed-in user."""
    return str(g.user)


def caller() -> Caller:
    """The caller of API requests for this page."""
    return Caller(
        person=person(),
        correlation_id=correlation_id(request.environ),
        address=request.remote_addr,
    )


def notify(text: str, *, undo: dict[str, str] | None = None, error: bool = False) -> None:
    """Show a text on the next page, with an undo button if ``undo`` has hidden form fields."""
    notices = [*session.get("notices", ()), {"text": text, "undo": undo, "error": error}]
    session["notices"] = notices[-MAX_NOTICES:]


def take_notices() -> list[dict[str, Any]]:
    """The notices to show on this page. They are shown once."""
    if "notices" not in session:
        return []
    notices: list[dict[str, Any]] = session.pop("notices")
    return notices


def list_url_of_referrer(list_path: str) -> str | None:
    """The URL of the alert list that the user came from, if there is one on this site."""
    page = referrer()
    return page if page is not None and page.partition("?")[0] == list_path else None


def referrer() -> str | None:
    """Path and query of the page of this site that the user came from, if there is one."""
    if not request.referrer:
        return None
    try:
        parts = urlsplit(request.referrer)
    except ValueError:
        return None
    if parts.netloc != request.host or not parts.path.startswith("/") or parts.path[1:2] == "/":
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
