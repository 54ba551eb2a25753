"""The overview: what is new, what needs work, and whether the pipeline works."""

import datetime as dt
from typing import Final

from flask import Blueprint, render_template, session
from flask.typing import ResponseReturnValue

from auditflow.contract.alert import Facets
from auditflow.contract.notification import SilenceView
from auditflow.contract.pipeline import QueueView
from auditflow.contract.statistics import Overview
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.apis.notifications import NotificationsApi
from event_audit_dashboard.apis.pipeline import PipelineApi
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import ApiError
from event_audit_dashboard.health_of_parts import PartsHealth
from event_audit_dashboard.ledgers import STATES, Ledgers
from event_audit_dashboard.localization.translation import gettext
from event_audit_dashboard.presentation import chart
from event_audit_dashboard.query import Query
from event_audit_dashboard.views.alerts import link
from event_audit_dashboard.views.common import caller, person

#: Time for which all users share the numbers, in seconds.
SHARED_SECONDS: Final = 5.0
#: Visits with less time between them count as one visit, in seconds.
VISIT_SECONDS: Final = 30 * 60
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
UNRESOLVED: Final = "open,acknowledged"


def blueprint(
    api: NotificationService,
    notifications: NotificationsApi,
    pipeline: PipelineApi,
    parts: PartsHealth,
    ledgers: Ledgers,
) -> Blueprint:
    """``/overview``."""
    pages = Blueprint("overview", __name__)
    overviews: TimedCache[Overview] = TimedCache(seconds=SHARED_SECONDS)
    facets: TimedCache[Facets] = TimedCache(seconds=SHARED_SECONDS)
    queues: TimedCache[tuple[QueueView, ...] | None] = TimedCache(seconds=SHARED_SECONDS)

    @pages.get("/overview")
    def show() -> ResponseReturnValue:
        now = dt.datetime.now(dt.UTC)
        found = overviews.get("", lambda: api.overview(caller()))
        unresolved = facets.get("", lambda: api.facets({"status": UNRESOLVED}, caller()))
        since = _last_visit(now)
        new = Query(status=UNRESOLVED, since=since.isoformat())
        assigned = Query(status=UNRESOLVED, assignee=person())
        hour = now.replace(minute=0, second=0, microsecond=0)
        return render_template(
            "overview.html",
            overview=found,
            unresolved=unresolved,
            levels={item.value: item.count for item in unresolved.level},
            since=since,
            is_first_visit=not isinstance(session.get("last_visit"), int),
            new_query=new,
            new_total=api.total(new.api_filter(now=now), caller()),
            my_query=assigned,
            my_total=api.total(assigned.api_filter(now=now), caller()),
            hours=chart.draw(found.hours, last=hour, step=HOUR, number=24),
            days=chart.draw(found.days, last=hour.replace(hour=0), step=DAY, number=14),
            chart=chart,
            parts=parts.parts(),
            queues=queues.get("", lambda: _queues(pipeline)),
            ledger=ledgers.read(caller()).report,
            ledger_states=STATES,
            dead=_dead(notifications),
            ending=_ending(notifications, now),
            duration=duration,
            link=link,
            Query=Query,
        )

    return pages


def duration(seconds: float | None) -> str:
    """A duration in one or two units: ``4 min``, ``2 h 5 min``."""
    if seconds is None:
        return "\u2013"
    minutes = round(max(seconds, 0) / 60)
    if minutes < 1:
        return gettext("under 1 min")
    hours, days = minutes // 60, minutes // 1440
    if days >= 2:
        parts = [(days, gettext("d")), (hours % 24, gettext("h"))]
    else:
        parts = [(hours, gettext("h")), (minutes % 60, gettext("min"))]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def _last_visit(now: dt.datetime) -> dt.datetime:
    """The end of the previous visit of this browser. The session cookie has both times."""
    seen, last = session.get("seen"), session.get("last_visit")
    current = int(now.timestamp())
    if not isinstance(seen, int) or current - seen > VISIT_SECONDS:
        last = seen if isinstance(seen, int) else None
        session["last_visit"] = last
    if not isinstance(seen, int) or current - seen > 60:
        session["seen"] = current
    if not isinstance(last, int):
        return (now - DAY).replace(microsecond=0)
    return dt.datetime.fromtimestamp(last, dt.UTC)


def _queues(api: PipelineApi) -> tuple[QueueView, ...] | None:
    """The queues, or None if they cannot be read."""
    try:
        return api.queues(caller())
    except ApiError:
        return None


def _dead(api: NotificationsApi) -> int | None:
    """The number of failed deliveries, up to 200. None if it cannot be read."""
    try:
        return len(api.deliveries({"status": "dead"}, caller(), limit=200).notifications)
    except ApiError:
        return None


def _ending(api: NotificationsApi, now: dt.datetime) -> list[SilenceView]:
    """The active silences that end within a day, the next one first."""
    try:
        silences = api.silences(caller()).silences
    except ApiError:
        return []
    soon = [
        (item.ends_at, item)
        for item in silences
        if item.state == "active" and item.ends_at and item.ends_at - now < DAY
    ]
    return [item for _, item in sorted(soon, key=lambda pair: pair[0])]
