"""The page of an entity: a user, a host, an address or a resource."""

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue
from msgspec import Struct

from auditflow.contract import text_filter
from auditflow.contract.alert import AlertSummary
from auditflow.contract.event_search import ArchivedEventSummary, EventHistogram
from event_audit_dashboard.apis.events import EventsApi
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.errors import ApiError, FilterRejected
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
#: The filter of archived events for each kind of entity.
_EVENT_FILTERS: Final = {"user": "user", "host": "host", "address": "ip", "resource": "resource"}
#: Alerts on the page: those with the latest activity.
MAX_ALERTS: Final = 100


#: The timeline has events of this period, or since the first alert on the page.
EVENTS_PERIOD: Final = dt.timedelta(days=7)
MAX_EVENTS_PERIOD: Final = dt.timedelta(days=30)
#: The chart is drawn again with shorter steps if the events use less of its period.
_SPARSE: Final = 0.25
_STEPS: Final = 100


class EntityEvents(Struct, frozen=True):
    """The latest archived events of an entity, and their numbers over time.

    ``problem`` is the reason, in the current language, why the archive did not answer.
    """

    since: dt.datetime
    events: tuple[ArchivedEventSummary, ...] = ()
    more: bool = False
    histogram: EventHistogram | None = None
    problem: str | None = None


def blueprint(api: NotificationService, events: EventsApi | None) -> Blueprint:
    """``/entity`` and ``/entity/timeline``. Without ``events`` there is no archive."""
    pages = Blueprint("entity", __name__)

    @pages.get("/entity")
    def show() -> ResponseReturnValue:
        kind, value = _entity()
        word, name, _ = KINDS[kind]
        exact = text_filter.exact(value)
        alerts, more = _alerts(name, exact)
        return render_template(
            "entity.html",
            word=gettext(word),
            filter_name=name,
            risk=api.risk(kind, value, caller()),
            facets=api.facets({name: exact}, caller()),
            first_seen=min((item.first_seen for item in alerts), default=None),
            last_seen=max((item.last_seen for item in alerts), default=None),
            can_complete=events is not None,
            **_timeline(kind, value, alerts, more=more),
        )

    @pages.get("/entity/timeline")
    def timeline() -> ResponseReturnValue:
        kind, value = _entity()
        word, name, _ = KINDS[kind]
        alerts, more = _alerts(name, text_filter.exact(value))
        found = None
        if events is not None:
            found = _events(events, kind, value, alerts, dt.datetime.now(dt.UTC))
        return render_template(
            "entity_timeline.html",
            word=gettext(word),
            can_complete=False,
            **_timeline(kind, value, alerts, more=more, found=found),
        )

    def _alerts(name: str, exact: str) -> tuple[list[AlertSummary], bool]:
        page = api.alerts({name: exact}, caller(), limit=MAX_ALERTS)
        alerts = [msgspec.json.decode(bytes(raw), type=AlertSummary) for raw in page.alerts]
        return alerts, page.next_cursor is not None

    return pages


def _entity() -> tuple[str, str]:
    """The kind and the value in the query of the request."""
    kind, value = request.args.get("kind", ""), request.args.get("value", "").strip()
    if kind not in KINDS:
        abort(404)
    if not filterable(value):
        raise FilterRejected(N_("the value is empty, too long, or has hidden characters"))
    return kind, value


def _timeline(
    kind: str,
    value: str,
    alerts: Sequence[AlertSummary],
    *,
    more: bool,
    found: EntityEvents | None = None,
) -> dict[str, Any]:
    _, name, none_text = KINDS[kind]
    return {
        "kind": kind,
        "value": value,
        "none_text": gettext(none_text),
        "query": Query().first_page(**{name: text_filter.exact(value)}),
        "alerts": alerts,
        "more": more,
        "found": found,
        "event_filter": {_EVENT_FILTERS[kind]: value},
        "timeline": lanes.draw(alerts, found.histogram if found else None),
        "events_height": lanes.EVENTS_HEIGHT,
        "days": by_day(alerts, found.events if found else ()),
        "link": link,
        "Query": Query,
    }


def _events(
    events: EventsApi, kind: str, value: str, alerts: Sequence[AlertSummary], now: dt.datetime
) -> EntityEvents:
    first = min([item.first_seen for item in alerts] + [now - EVENTS_PERIOD])
    since = max(first, now - MAX_EVENTS_PERIOD).replace(microsecond=0)
    parameters = {_EVENT_FILTERS[kind]: value, "since": since.isoformat()}
    try:
        page = events.page(parameters, caller())
        histogram = events.histogram(parameters, caller())
        period = lanes.period_of(histogram)
        if period and period[1] - period[0] < (now - since) * _SPARSE:
            ends = {"since": period[0].isoformat(), "until": period[1].isoformat()}
            step = math.ceil((period[1] - period[0]).total_seconds() / _STEPS)
            ends["interval_seconds"] = str(step)
            histogram = events.histogram({**parameters, **ends}, caller())
    except ApiError as error:
        return EntityEvents(since, problem=error.text)
    return EntityEvents(since, page.events, page.next_cursor is not None, histogram)


def by_day(
    alerts: Sequence[AlertSummary], events: Sequence[ArchivedEventSummary] = ()
) -> list[tuple[dt.date, list[AlertSummary | ArchivedEventSummary]]]:
    """Alerts by their last activity, and events, by day (UTC), the latest first."""
    timed: list[tuple[dt.datetime, int, AlertSummary | ArchivedEventSummary]] = [
        *((alert.last_seen, 1, alert) for alert in alerts),
        *((event.timestamp, 0, event) for event in events),
    ]
    days: dict[dt.date, list[AlertSummary | ArchivedEventSummary]] = {}
    for timestamp, _, item in sorted(timed, key=lambda entry: entry[:2], reverse=True):
        days.setdefault(timestamp.astimezone(dt.UTC).date(), []).append(item)
    return list(days.items())


def url(kind: str, value: str | None) -> str | None:
    """The URL of an entity's page. None if the value cannot be a filter."""
    if not value or kind not in KINDS or not filterable(value):
        return None
    return f"{url_for('entity.show')}?{urlencode({'kind': kind, 'value': value})}"
