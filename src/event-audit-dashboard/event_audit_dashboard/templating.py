"""Filters and globals of all templates."""

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from flask import Flask, g, request, url_for

from auditflow.contract.alert import AlertSummary, FacetValue, Role
from event_audit_dashboard.assets import Assets
from event_audit_dashboard.headers import nonce
from event_audit_dashboard.presentation import attack, badges, history, text, times
from event_audit_dashboard.query import CHOICES, UNASSIGNED, UNRESOLVED
from event_audit_dashboard.views.common import take_notices

#: The browser's time zone. A script sets the cookie; users without scripts see UTC.
ZONE_COOKIE = "auditflow-zone"
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
_ZONES = frozenset(available_timezones())


def configure(app: Flask, *, assets: Assets, environment: str) -> None:
    """Register filters and globals. An undefined name in a template is an error."""
    env = app.jinja_env
    env.trim_blocks = env.lstrip_blocks = True
    env.filters.update(
        visible=text.visible,
        visible_lines=text.visible_lines,
        shorten=text.shorten,
        exact=times.exact,
        machine=times.machine,
        web_link=badges.web_link,
        local=lambda timestamp: times.local(timestamp, zone()),
        local_clock=lambda timestamp: times.local_clock(timestamp, zone()),
    )

    env.globals.update(
        asset=assets.url,
        plural=text.plural,
        span=times.span,
        ago=times.ago,
        tag=attack.tag,
        LEVEL=badges.LEVEL,
        STATUS=badges.STATUS,
        VERDICT=badges.VERDICT,
        FILTER=badges.FILTER,
        SORT=badges.SORT,
        filter_label=badges.filter_label,
        facet_title=facet_title,
        ordered=ordered,
        entity_values=entity_values,
        history_text=history.describe,
        take_notices=take_notices,
        environment=environment,
    )

    @app.context_processor
    def _common() -> dict[str, Any]:
        user = g.get("user")
        return {
            "now": dt.datetime.now(dt.UTC),
            "user": user,
            "can_triage": g.get("role", Role.VIEWER).rank >= Role.ANALYST.rank,
            "csp_nonce": nonce(),
            "navigation": _navigation() if user else (),
        }


def zone() -> dt.tzinfo:
    """The time zone of the user."""
    name = request.cookies.get(ZONE_COOKIE, "")
    if not _ZONE_NAME.fullmatch(name) or name not in _ZONES:
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return dt.UTC


def entity_values(alert: AlertSummary) -> list[str]:
    """The values that identify the entity of an alert in a list, at most two."""
    values = [*alert.entity.values(), alert.actor, alert.server_hostname, alert.client_ip]
    return list(dict.fromkeys(value for value in values if value))[:2]


def facet_title(name: str, value: str) -> str:
    """The text of a facet value that has no label of its own."""
    if name == "assignee" and value == UNASSIGNED:
        return "Nobody"
    return badges.filter_label(name, value)


def ordered(name: str, values: Sequence[FacetValue]) -> list[FacetValue]:
    """Facet values in the order of a closed set, otherwise the most frequent first."""
    if name not in CHOICES:
        return sorted(values, key=lambda item: -item.count)
    known = CHOICES[name]
    return sorted(values, key=lambda item: known.index(item.value) if item.value in known else 99)


def _navigation() -> list[tuple[str, str, str, bool]]:
    """Label, URL, key after ``g``, and whether it is the current page."""
    endpoint = request.endpoint or ""
    pages = (("Alerts", "alerts.listing", "a", UNRESOLVED.pairs()),)
    return [
        (
            label,
            f"{url_for(name)}?{urlencode(query)}" if query else url_for(name),
            key,
            name == endpoint,
        )
        for label, name, key, query in pages
    ]
