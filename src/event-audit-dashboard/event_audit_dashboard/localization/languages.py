"""The language in which a user sees pages."""

from typing import Final

from flask import Flask, request

from event_audit_dashboard.localization import translation
from event_audit_dashboard.localization.translation import ENGLISH, LANGUAGES, Language

#: The language that the user has chosen on the page of settings.
CHOSEN_COOKIE: Final = "auditflow-language"


def add(app: Flask) -> None:
    """Set the language of each request: the chosen one, else the one that the browser prefers."""
    app.before_request(lambda: translation.use(_of_request()))


def chosen() -> str | None:
    """The code of the language that the user has chosen, if any."""
    code = request.cookies.get(CHOSEN_COOKIE, "")
    return code if code in LANGUAGES else None


def _of_request() -> Language:
    code = chosen()
    if code is not None:
        return LANGUAGES[code]
    # The most preferred one comes first. Regions do not differ: de-AT is de.
    for name, quality in request.accept_languages:
        language = LANGUAGES.get(name.lower().partition("-")[0])
        if quality > 0 and language is not None:
            return language
    return ENGLISH
