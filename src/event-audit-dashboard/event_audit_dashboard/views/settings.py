"""Settings of the signed-in user: time zone and sessions."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from event_audit_dashboard import zones
from event_audit_dashboard.views.common import notify

_YEAR_SECONDS = 365 * 24 * 60 * 60


def blueprint(*, cookie_secure: bool) -> Blueprint:
    """``/settings`` and ``POST /settings/time-zone``."""
    pages = Blueprint("settings", __name__)

    @pages.get("/settings")
    def show() -> ResponseReturnValue:
        return render_template(
            "settings.html", zones=sorted(zones.NAMES), chosen=zones.chosen(), current=zones.name()
        )

    @pages.post("/settings/time-zone")
    def set_time_zone() -> ResponseReturnValue:
        response = redirect(url_for("settings.show"), 303)
        name = request.form.get("zone", "")
        if not name:
            response.delete_cookie(zones.CHOSEN_COOKIE, secure=cookie_secure, samesite="Lax")
            notify("Times are shown in the time zone of your browser")
        elif name not in zones.NAMES:
            notify("There is no time zone with this name.", error=True)
        else:
            response.set_cookie(
                zones.CHOSEN_COOKIE,
                name,
                max_age=_YEAR_SECONDS,
                secure=cookie_secure,
                httponly=True,
                samesite="Lax",
            )
            notify(f"Times are shown in the time zone {name}")
        return response

    return pages
