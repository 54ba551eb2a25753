"""Events: search in the archive, a chart over time, facets, one event, and export."""

import datetime as dt
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from msgspec import UNSET

from auditflow.contract.event_search import ArchivedEventDetail
from event_audit_dashboard import event_query
from event_audit_dashboard.apis.events import EventsApi
from event_audit_dashboard.event_query import EventQuery
from event_audit_dashboard.presentation import text
from event_audit_dashboard.query import RANGES
from event_audit_dashboard.views.common import caller

#: Width and height of the chart, in its own units.
WIDTH, HEIGHT = 1000, 80
#: Maximum number of characters of a record on a page.
MAX_RECORD: Final = 60_000
FACET_VALUES: Final = "8"


def blueprint(events: EventsApi) -> Blueprint:
    """``/events``, ``/events/numbers``, ``/events/detail`` and ``/events/export``."""
    pages = Blueprint("events", __name__)

    @pages.get("/events")
    def listing() -> ResponseReturnValue:
        query = event_query.parse(request.args)
        parameters = query.for_api(dt.datetime.now(dt.UTC))
        cursor = {"cursor": query.cursor} if query.cursor else {}
        page = events.page({**parameters, **cursor}, caller())
        return render_template("events.html", page=page, **_context(query))

    @pages.get("/events/numbers")
    def numbers() -> ResponseReturnValue:
        query = event_query.parse(request.args)
        parameters = query.for_api(dt.datetime.now(dt.UTC))
        histogram = events.histogram(parameters, caller())
        fields = {"fields": ",".join(event_query.FACETS), "limit": FACET_VALUES}
        facets = events.facets({**parameters, **fields}, caller())
        return render_template(
            "event_numbers.html",
            histogram=histogram,
            bars=_bars(histogram),
            facets=facets.facets,
            facet_filters=event_query.FACETS,
            width=WIDTH,
            height=HEIGHT,
            **_context(query),
        )

    @pages.get("/events/detail")
    def detail() -> ResponseReturnValue:
        found = events.event(request.args.get("id", "")[:256], caller())
        raw = b"" if found.record is UNSET else bytes(found.record)
        if request.args.get("format") == "json":
            return Response(raw or b"null", content_type="application/json")
        pretty = _pretty(found, raw)
        return render_template(
            "archived_event.html",
            item=found,
            record=pretty[:MAX_RECORD],
            left_out=max(0, len(pretty) - MAX_RECORD),
            raw_url=f"{request.path}?{urlencode({'id': found.event_id, 'format': 'json'})}",
            around=_around(found),
        )

    @pages.get("/events/export")
    def export() -> ResponseReturnValue:
        query = event_query.parse(request.args)
        parts = events.export(query.for_api(dt.datetime.now(dt.UTC)), caller())
        return Response(
            parts,
            content_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="events.ndjson"'},
        )

    return pages


def _context(query: EventQuery) -> dict[str, Any]:
    def url(endpoint: str = "events.listing", **changes: str) -> str:
        pairs = query.with_(**changes)
        path = url_for(endpoint)
        return f"{path}?{urlencode(pairs)}" if pairs else path

    return {
        "query": query,
        "fields": event_query.FIELDS,
        "ranges": [name for name in RANGES if name in event_query.RANGES],
        "url": url,
    }


def _bars(histogram: Any) -> list[tuple[float, float, float, int, str, str]]:
    """For each period with events: x, y, height, count, start and end."""
    buckets = histogram.buckets
    highest = max((bucket.count for bucket in buckets), default=0)
    step = dt.timedelta(seconds=histogram.interval_seconds)
    width = WIDTH / max(len(buckets), 1)
    found = []
    for index, bucket in enumerate(buckets):
        if bucket.count:
            height = round(max(2.0, bucket.count / highest * HEIGHT), 1)
            found.append(
                (
                    round(index * width, 1), round(HEIGHT - height, 1), height, bucket.count,
                    bucket.start.isoformat(), (bucket.start + step).isoformat(),
                )
            )  # fmt: skip
    return found


def _around(event: ArchivedEventDetail) -> dict[str, str]:
    """Alerts that were active around the event."""
    hour = dt.timedelta(hours=1)
    return {
        "since": (event.timestamp - hour).isoformat(),
        "until": (event.timestamp + hour).isoformat(),
    }


def _pretty(event: ArchivedEventDetail, raw: bytes) -> str:
    if not raw:
        return event.record_base64 or ""
    try:
        return text.pretty_json(raw)
    except (msgspec.MsgspecError, RecursionError):
        return text.visible(raw.decode("utf-8", "replace"))
