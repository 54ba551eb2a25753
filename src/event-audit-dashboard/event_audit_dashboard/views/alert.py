"""The page of an alert, and the record of each of its events."""

import itertools
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue
from msgspec import Struct

from auditflow.contract import text_filter
from auditflow.contract.alert import AlertDetail, EventPage
from auditflow.contract.triage import History
from auditflow.telemetry import logs
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.apis.notifications import NotificationsApi
from event_audit_dashboard.archived_rows import ArchivedRows
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import ApiError, NotFound
from event_audit_dashboard.localization.translation import gettext
from event_audit_dashboard.presentation import text, timeline
from event_audit_dashboard.query import Query, filterable
from event_audit_dashboard.rendering.page_cache import PageCache
from event_audit_dashboard.rendering.urls import cached_url_for
from event_audit_dashboard.views.alerts import LIVE_SECONDS, link
from event_audit_dashboard.views.common import caller, list_url_of_referrer, person

#: Maximum number of characters of a record on a page. The copy and the download are complete.
MAX_RECORD: int = 60_000
#: Events and history of an alert are read again when the alert has changed, or after this time, in
#: seconds. It is shorter than the time in which the API records the same read once.
PARTS_SECONDS: float = 30.0
#: Maximum number of alerts whose events and history are kept, about 50 KB each.
MAX_PARTS: int = 64
_log = logs.get(__name__)


class Parts(Struct, frozen=True):
    """Events and history of an alert. ``loaded`` is different each time they are read."""

    events: EventPage
    history: History
    loaded: int


class Observable(Struct, frozen=True):
    """A user, host, address or resource of an alert. ``filter_name`` is the filter of lists."""

    label: str
    kind: str
    value: str
    filter_name: str
    query: Query


def blueprint(
    api: NotificationService,
    routes: NotificationsApi,
    archive: ArchivedRows,
    rendered: PageCache,
) -> Blueprint:
    """``/alerts/<id>``, ``/alerts/<id>/events`` and ``/alerts/<id>/events/<event_id>``."""
    pages = Blueprint("alert", __name__)
    versions: TimedCache[int] = TimedCache(seconds=LIVE_SECONDS)
    parts: TimedCache[Parts] = TimedCache(seconds=PARTS_SECONDS, size=MAX_PARTS)
    loads = itertools.count()

    @pages.get("/alerts/<uuid:alert_id>")
    def detail(alert_id: object) -> ResponseReturnValue:
        identifier = str(alert_id)
        found = api.shown_alert(identifier, caller())
        alert = found.alert
        cursor = request.args.get("events", "")
        # The alert was read for this person, and each change of it has a new number. The key has
        # the person and the address, because the API records who read what.
        key = msgspec.json.encode(
            (person(), request.remote_addr, identifier, alert.change_seq, alert.updated_at, cursor)
        ).decode()
        loaded = parts.get(
            key,
            lambda: Parts(
                api.events(identifier, caller(), cursor=cursor),
                api.history(identifier, caller()),
                next(loads),
            ),
        )
        if "HX-Request" not in request.headers:
            # The correlation ids connect the view with the requests that sent the events.
            _log.info(
                "alert shown",
                alert_id=identifier,
                user=person(),
                event_correlation_ids=found.correlation_ids,
            )
        back = list_url_of_referrer(cached_url_for("alerts.listing"))
        archived = archive.version  # before the rows are read, so that no change is missed

        def context() -> dict[str, object]:
            shown = archive.cached(loaded.events.events)
            return {
                "alert": alert,
                "alert_id": identifier,
                "events": shown,
                "cursor": cursor,
                "can_complete": archive.can_complete(shown),
                "next_events": loaded.events.next_cursor,
                "is_first_events": "events" not in request.args,
                "history": loaded.history,
                "observables": _observables(alert),
                "timeline": timeline.draw(alert.findings, [event.row for event in shown]),
                "back": back,
                "link": link,
                "Query": Query,
            }

        return rendered.render(
            "alert.html", version=(found.version, loaded.loaded, archived, back), context=context
        )

    @pages.get("/alerts/<uuid:alert_id>/live")
    def live(alert_id: object) -> ResponseReturnValue:
        identifier = str(alert_id)
        try:
            version = versions.get(identifier, lambda: api.alert(identifier, caller()).change_seq)
        except ApiError as error:
            return Response(error.text, error.status, content_type="text/plain; charset=utf-8")
        response = Response(str(version), content_type="text/plain")
        response.set_etag(str(version))
        return response.make_conditional(request)

    @pages.get("/alerts/<uuid:alert_id>/events")
    def all_events(alert_id: object) -> ResponseReturnValue:
        cursor = request.args.get("events", "")
        events = api.events(str(alert_id), caller(), cursor=cursor)
        return render_template(
            "alert_events.html",
            alert_id=str(alert_id),
            events=archive.load(events.events, caller()),
            cursor=cursor,
            can_complete=False,
        )

    @pages.get("/alerts/<uuid:alert_id>/events/<path:event_id>")
    def event(alert_id: object, event_id: str) -> ResponseReturnValue:
        raw = api.event(str(alert_id), event_id, caller())
        if request.args.get("format") == "json":
            return Response(raw, content_type="application/json")
        pretty = _pretty(raw)
        raw_url = f"{request.path}?{urlencode({'format': 'json'})}"
        return render_template(
            "event.html",
            alert_id=str(alert_id),
            event_id=event_id,
            record=pretty[:MAX_RECORD],
            left_out=max(0, len(pretty) - MAX_RECORD),
            raw_url=raw_url,
        )

    @pages.get("/alerts/<uuid:alert_id>/notifications")
    def notifications(alert_id: object) -> ResponseReturnValue:
        identifier = str(alert_id)
        context: dict[str, object] = {"alert_id": identifier, "problem": None}
        try:
            context["routing"] = routes.route_of_alert(identifier, caller())
            context["sent"] = routes.deliveries({"alert_id": identifier}, caller(), limit=6)
        except NotFound:
            raise
        except ApiError as error:
            context["problem"] = error.text
        return render_template("alert_notifications.html", **context)

    return pages


def _observables(alert: AlertDetail) -> list[Observable]:
    found = [
        (gettext("User"), "user", "actor", alert.actor),
        (gettext("Host"), "host", "host", alert.server_hostname),
        (gettext("Address"), "address", "ip", alert.client_ip),
        (gettext("Resource"), "resource", "resource", alert.resource),
    ]
    return [
        Observable(
            label, kind, value, name, _related(name, value),
        )
        for label, kind, name, value in found
        if value
    ]  # fmt: skip


def _related(name: str, value: str) -> Query:
    """The list of alerts with this value; without a filter if the value cannot be one."""
    exact = text_filter.exact(value)
    return Query().first_page(**{name: exact}) if filterable(exact) else Query()


def _pretty(raw: bytes) -> str:
    try:
        return text.pretty_json(raw)
    except (msgspec.MsgspecError, RecursionError):
        return text.visible(raw.decode("utf-8", "replace"))
