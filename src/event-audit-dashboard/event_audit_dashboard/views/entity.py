"""The page of an entity: a user, a host, an address or a resource."""

import datetime as dt
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditflow.contract import text_filter
from auditflow.contract.alert import AlertSummary
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.errors import FilterRejected
from event_audit_dashboard.localization.translation import N_, gettext
from event_audit_dashboard.presentation import lanes
from event_audit_dashboard.query import Query, filterable
from event_audit_dashboard.views.alerts import link
from event_audit_dashboard.views.common import caller

#: Kinds of entities: the word, the filter of lists, and the text without alerts.
KINDS: Final = {
    "user": (N_("User"), "actor", N_("There is no alert about this user.")),
    "host": (N_("Host"), "host", N_("There is no alert about this host.")),
    "address": (
        N_("Address"),
        "ip",
        N_("There is no alert about this address."),
    ),
    "resource": (
        N_("Resource"),
        "resource",
        N_("There is no alert about this resource."),
    ),
}
#: Alerts on the page: those with the latest activity.
MAX_ALERTS: Final = 100


def blueprint(api: NotificationService) -> Blueprint:
    """``/entity``."""
    pages = Blueprint("entity", __name__)

    @pages.get("/entity")
    def show() -> ResponseReturnValue:
        kind, value = request.args.get("kind", ""), request.args.get("value", "").strip()
        if kind not in KINDS:
            abort(404)
        if not filterable(value):
            raise FilterRejected(N_("the value is empty, too long, or has hidden characters"))
        word, name, none_text = KINDS[kind]
        exact = text_filter.exact(value)
        query = Query().first_page(**{name: exact})
        page = api.alerts({name: exact}, caller(), limit=MAX_ALERTS)
        alerts = [msgspec.json.decode(bytes(raw), type=AlertSummary) for raw in page.alerts]
        return render_template(
            "entity.html",
            kind=kind,
            word=gettext(word),
            none_text=gettext(none_text),
            value=value,
            filter_name=name,
            query=query,
            risk=api.risk(kind, value, caller()),
            alerts=alerts,
            facets=api.facets({name: exact}, caller()),
            more=page.next_cursor is not None,
            first_seen=min((item.first_seen for item in alerts), default=None),
            last_seen=max((item.last_seen for item in alerts), default=None),
            timeline=lanes.draw(alerts),
            days=by_day(alerts),
            link=link,
            Query=Query,
        )

    return pages


def by_day(alerts: Sequence[AlertSummary]) -> list[tuple[dt.date, list[AlertSummary]]]:
    """The alerts by the day (UTC) of their last activity, the latest first."""
    days: dict[dt.date, list[AlertSummary]] = {}
    for alert in sorted(alerts, key=lambda item: item.last_seen, reverse=True):
        days.setdefault(alert.last_seen.astimezone(dt.UTC).date(), []).append(alert)
    return list(days.items())


def url(kind: str, value: str | None) -> str | None:
    """The URL of an entity's page. None if the value cannot be a filter."""
    if not value or kind not in KINDS or not filterable(value):
        return None
    return f"{url_for('entity.show')}?{urlencode({'kind': kind, 'value': value})}"
