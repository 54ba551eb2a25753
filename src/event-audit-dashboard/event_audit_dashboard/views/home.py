"""The start page."""

from flask import Blueprint, redirect
from flask.typing import ResponseReturnValue

from event_audit_dashboard.query import UNRESOLVED
from event_audit_dashboard.views.alerts import link


def blueprint() -> Blueprint:
    """``/``."""
    pages = Blueprint("home", __name__)

    @pages.get("/")
    def start() -> ResponseReturnValue:
        return redirect(link(UNRESOLVED))

    return pages
