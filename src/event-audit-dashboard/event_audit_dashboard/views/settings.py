"""Settings of the signed-in user: time zone, language and sessions."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from event_audit_dashboard.localization import languages, zones
from event_audit_dashboard.localization.translation import LANGUAGES, gettext
from event_audit_dashboard.views.common import notify

_YEAR_SECONDS = 365 * 24 * 60 * 60


def blueprint(*, cookie_secure: bool) -> Blueprint:
    """``/settings``, ``POST /settings/time-zone`` and ``POST /settings/language``."""
    pages = Blueprint("settings", __name__)

    @pages.get("/settings")
    def show() -> ResponseReturnValue:
        return render_template(
            "settings.html",
            zones=sorted(zones.NAMES),
            chosen=zones.chosen(),
            current=zones.name(),
            languages=LANGUAGES.values(),
            chosen_language=languages.chosen(),
        )

    @pages.post("/settings/time-zone")
    def set_time_zone() -> ResponseReturnValue:
        response = redirect(url_for("settings.show"), 303)
        name = request.form.get("zone", "")
        if not name:
            response.delete_cookie(zones.CHOSEN_COOKIE, secure=cookie_secure, samesite="Lax")
            notify(gettext("Times are shown in the time zone of your browser"))
        elif name not in zones.NAMES:
            notify(gettext("There is no time zone with this name."), error=True)
        else:
            response.set_cookie(
                zones.CHOSEN_COOKIE,
                name,
                max_age=_YEAR_SECONDS,
                secure=cookie_secure,
                httponly=True,
                samesite="Lax",
            )
            notify(gettext("Times are shown in the time zone %(zone)s", zone=name))
        return response

    @pages.post("/settings/language")
    def set_language() -> ResponseReturnValue:
        response = redirect(url_for("settings.show"), 303)
        code = request.form.get("language", "")
        if not code:
            response.delete_cookie(languages.CHOSEN_COOKIE, secure=cookie_secure, samesite="Lax")
        elif code not in LANGUAGES:
            notify(gettext("There is no language with this code."), error=True)
        else:
            response.set_cookie(
                languages.CHOSEN_COOKIE,
                code,
                max_age=_YEAR_SECONDS,
                secure=cookie_secure,
                httponly=True,
                samesite="Lax",
            )
        return response

    return pages
