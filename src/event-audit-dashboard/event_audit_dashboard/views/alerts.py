"""The alert list, its live part, and the alert page."""

import datetime as dt
import hashlib
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from msgspec import Struct

from auditflow.http.middleware import correlation_id
from auditflow.telemetry import logs
from event_audit_dashboard import query as queries
from event_audit_dashboard.alerts import Alert, AlertPage, Counts
from event_audit_dashboard.api import NotificationService
from event_audit_dashboard.errors import ApiError
from event_audit_dashboard.presentation import evidence, timeline
from event_audit_dashboard.query import Query

_MAX_ID = 64
_log = logs.get(__name__)


class Overview(Struct, frozen=True):
    """A page of alerts, and the counts of the filter tiles above it.

    The counts of a filter ignore this filter, so that they show the result of each choice.
    """

    listing: AlertPage
    by_status: Counts
    by_severity: Counts


def blueprint(api: NotificationService) -> Blueprint:
    """``/alerts``, ``/alerts/live`` and ``/alerts/<id>``."""
    pages = Blueprint("alerts", __name__)

    @pages.get("/")
    def home() -> ResponseReturnValue:
        return redirect(url_for("alerts.listing"))

    @pages.get("/alerts")
    def listing() -> ResponseReturnValue:
        query = queries.read(request.args)
        if not queries.is_canonical(request.args, query):
            return redirect(_link(query))
        return render_template("alerts.html", **_context(query, _load(api, query)))

    @pages.get("/alerts/live")
    def live() -> ResponseReturnValue:
        query = queries.read(request.args)
        try:
            overview = _load(api, query)
        except ApiError as error:
            return Response(str(error), error.status, content_type="text/plain; charset=utf-8")
        response = Response(headers={"Cache-Control": "no-store"})
        response.set_etag(hashlib.sha256(msgspec.json.encode(overview)).hexdigest()[:32])
        if request.if_none_match.contains(response.get_etag()[0] or ""):
            response.status_code = 304
        else:
            response.set_data(render_template("_live.html", **_context(query, overview)))
        return response

    @pages.get("/alerts/<alert_id>")
    def detail(alert_id: str) -> ResponseReturnValue:
        if len(alert_id) > _MAX_ID or not alert_id.replace("-", "").replace("_", "").isalnum():
            abort(404)
        alert = api.alert(alert_id, correlation_id=correlation_id(request.environ))
        # The correlation ids connect the analyst's view with the requests that sent the events.
        event_ids = {finding.correlation_id for finding in alert.findings if finding.correlation_id}
        _log.info("alert shown", alert_id=alert_id, event_correlation_ids=sorted(event_ids))
        return render_template(
            "alert.html",
            alert=alert,
            views=evidence.build_views(alert.findings),
            timeline=timeline.draw(alert.findings),
            query=queries.read(request.args),
            link=_link,
            detail_link=_detail_link,
        )

    return pages


def _load(api: NotificationService, query: Query) -> Overview:
    now = dt.datetime.now(dt.UTC)

    def load(filtered: Query, **limit: int) -> AlertPage:
        return api.alerts(
            filtered.for_api(now=now), correlation_id=correlation_id(request.environ), **limit
        )

    main = load(query)
    all_statuses = (
        load(query.first_page(status=""), limit=1).counts if query.status else main.counts
    )
    all_severities = (
        load(query.first_page(severity=""), limit=1).counts if query.severity else main.counts
    )
    return Overview(main, all_statuses, all_severities)


def _context(query: Query, overview: Overview) -> dict[str, object]:
    return {
        "query": query,
        "overview": overview,
        "listing": overview.listing,
        "queries": queries,
        "link": _link,
        "detail_link": _detail_link,
        "version": _version,
        "live_url": _with(url_for("alerts.live"), query),
    }


def _link(query: Query) -> str:
    return _with(url_for("alerts.listing"), query)


def _detail_link(alert_id: str, query: Query) -> str:
    return _with(url_for("alerts.detail", alert_id=alert_id), query)


def _with(path: str, query: Query) -> str:
    pairs = query.pairs()
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _version(alert: Alert) -> str:
    """Changes whenever the row of the alert changes."""
    return hashlib.sha256(msgspec.json.encode(alert)).hexdigest()[:12]
