"""Filters and globals of all templates."""

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

from flask import Flask, current_app, g, request
from markupsafe import Markup

from auditflow.contract.access import Role
from auditflow.contract.alert import AlertDetail, AlertSummary, FacetValue
from event_audit_dashboard.localization import script_texts, translation, zones
from event_audit_dashboard.localization.translation import N_, Language, gettext
from event_audit_dashboard.presentation import attack, badges, history, recurrence, text, times
from event_audit_dashboard.query import CHOICES, UNASSIGNED, UNRESOLVED
from event_audit_dashboard.rendering.assets import Assets
from event_audit_dashboard.rendering.constant_calls import ConstantCallEnvironment
from event_audit_dashboard.rendering.headers import nonce
from event_audit_dashboard.rendering.urls import cached_url_for, url_of_archived, urls_of_records
from event_audit_dashboard.views.common import take_notices

#: Label, endpoint and key after ``g`` of the pages in the navigation.
PAGES: Final = (
    (N_("Overview"), "overview.show", "o"),
    (N_("Alerts"), "alerts.listing", "a"),
    (N_("Events"), "events.listing", "e"),
    (N_("Rules"), "rules.listing", "r"),
    (N_("Notifications"), "notifications.routes", "n"),
    (N_("Pipeline"), "pipeline.show", "p"),
    (N_("Settings"), "settings.show", "s"),
)

#: The filter of the list that the navigation opens.
_UNRESOLVED: Final = urlencode(UNRESOLVED.pairs())

#: Blueprints that belong to a page of the navigation.
_SECTIONS: Final = {
    "administration": "settings",
    "alert": "alerts",
    "audit": "settings",
    "entity": "overview",
    "saved_views": "alerts",
    "second_factor": "settings",
    "silences": "notifications",
    "triage": "alerts",
}


def compile_all(app: Flask) -> None:
    """Compile all templates, so that the first request of a page does not wait for it."""
    for name in app.jinja_env.list_templates(extensions=["html"]):
        app.jinja_env.get_template(name)


def configure(app: Flask, *, assets: Assets, environment: str) -> None:
    """Register filters and globals. An undefined name in a template is an error."""
    env = app.jinja_env
    assert isinstance(env, ConstantCallEnvironment)
    env.trim_blocks = env.lstrip_blocks = True
    env.filters.update(
        visible=text.visible,
        visible_lines=text.visible_lines,
        shorten=text.shorten,
        sentence=text.sentence,
        number=translation.count,
        percent=translation.percent,
        date=times.date,
        exact=times.exact,
        machine=times.machine,
        web_link=badges.web_link,
        recurrence=recurrence.words,
        local=lambda timestamp: times.local(timestamp, zones.current()),
        local_clock=lambda timestamp: times.local_clock(timestamp, zones.current()),
        local_minutes=lambda timestamp: times.local_minutes(timestamp, zones.current()),
    )

    env.add_functions(url_for=cached_url_for, asset=assets.url, _=markup)
    env.globals.update(
        script_texts=script_texts.name,
        ngettext=plural_markup,
        span=times.span,
        ago=times.ago,
        tag=attack.tag,
        LEVEL=badges.LEVEL,
        STATUS=badges.STATUS,
        VERDICT=badges.VERDICT,
        ROLE=badges.ROLE,
        SILENCE=badges.SILENCE,
        DELIVERY=badges.DELIVERY,
        KIND=badges.KIND,
        events_text=events_text,
        FILTER=badges.FILTER,
        SORT=badges.SORT,
        filter_label=badges.filter_label,
        facet_title=facet_title,
        ordered=ordered,
        entity_values=entity_values,
        history_text=history.describe,
        take_notices=take_notices,
        urls_of_records=urls_of_records,
        url_of_archived=url_of_archived,
        environment=environment,
    )

    @app.context_processor
    def _common() -> dict[str, Any]:
        user = g.get("user")
        return {
            "now": dt.datetime.now(dt.UTC),
            "user": user,
            "role": g.get("role", Role.VIEWER),
            "can_triage": g.get("role", Role.VIEWER).rank >= Role.ANALYST.rank,
            "csp_nonce": nonce(),
            "language": translation.current(),
            "navigation": _navigation() if user else (),
        }


def markup(message: str, /, **values: object) -> Markup:
    """A text in the current language. It may contain HTML; values are escaped."""
    found = _text(translation.current(), message)
    return found % values if values else found


@lru_cache(4096)
def _text(language: Language, message: str) -> Markup:
    return Markup(language.text(message))  # noqa: S704 # nosec B704 # a text of the program


def plural_markup(singular: str, plural: str, number: int, /, **values: object) -> Markup:
    """The text for a number. ``%(count)s`` is the number."""
    found = translation.current().plural(singular, plural, number)
    return Markup(found) % {"count": translation.count(number), **values}  # noqa: S704 # nosec B704


def events_text(alert: AlertDetail) -> str:
    """How many events an alert has, and how exact the number is."""
    number = translation.ngettext("%(count)s event", "%(count)s events", alert.count)
    if alert.approximate:
        number = gettext("%(number)s or more", number=number)
    if alert.count_is_estimate:
        number = gettext("%(number)s (estimate)", number=number)
    return number


def entity_values(alert: AlertSummary) -> list[str]:
    """The values that identify the entity of an alert in a list, at most two."""
    values = [*alert.entity.values(), alert.actor, alert.server_hostname, alert.client_ip]
    return list(dict.fromkeys(value for value in values if value))[:2]


def facet_title(name: str, value: str) -> str:
    """The text of a facet value that has no label of its own."""
    if name == "assignee" and value == UNASSIGNED:
        return gettext("Nobody")
    return badges.filter_label(name, value)


def ordered(name: str, values: Sequence[FacetValue]) -> list[FacetValue]:
    """Facet values in the order of a closed set, otherwise the most frequent first."""
    if name not in CHOICES:
        return sorted(values, key=lambda item: -item.count)
    known = CHOICES[name]
    return sorted(values, key=lambda item: known.index(item.value) if item.value in known else 99)


def _navigation() -> list[tuple[str, str, str, bool]]:
    """Label, URL, key after ``g``, and whether it is the current page."""
    section = _SECTIONS.get(request.blueprint or "", request.blueprint)
    return [
        (gettext(label), _start(name), key, name.partition(".")[0] == section)
        for label, name, key in PAGES
        if name in current_app.view_functions
    ]


def _start(endpoint: str) -> str:
    """The URL that the navigation opens for a page."""
    url = cached_url_for(endpoint)
    return f"{url}?{_UNRESOLVED}" if endpoint == "alerts.listing" else url
