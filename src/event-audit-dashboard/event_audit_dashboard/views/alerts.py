"""The alert list, its facets and its live part."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from msgspec import Raw

from auditflow.contract.alert import Facets
from event_audit_dashboard import query as queries
from event_audit_dashboard.api import NotificationService, RawPage
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import ApiError
from event_audit_dashboard.query import Query
from event_audit_dashboard.rows import RowRenderer
from event_audit_dashboard.saved_views import SavedViews, query_of
from event_audit_dashboard.translation import gettext
from event_audit_dashboard.urls import cached_url_for
from event_audit_dashboard.views.common import caller, person

#: All viewers of the same filter share the API's response for this time, in seconds.
LIVE_SECONDS = 0.9
FACET_SECONDS = 3.0


def blueprint(api: NotificationService, rows: RowRenderer, views: SavedViews) -> Blueprint:
    """``/alerts``, ``/alerts/facets`` and ``/alerts/live``."""
    pages = Blueprint("alerts", __name__)
    live_pages: TimedCache[RawPage] = TimedCache(seconds=LIVE_SECONDS)
    facet_sets: TimedCache[Facets] = TimedCache(seconds=FACET_SECONDS)

    @pages.get("/alerts")
    def listing() -> ResponseReturnValue:
        parsed = queries.parse(request.args)
        if parsed.problems:
            context = _context(parsed.query, problems=parsed.problems)
            content = render_template("alerts.html", **context, rows="", version="", saved=())
            return content, 400
        query = parsed.query
        if not queries.is_canonical(request.args, query):
            return redirect(link(query))
        now = dt.datetime.now(dt.UTC)
        page = api.alerts(query.for_api(now=now), caller())
        return render_template(
            "alerts.html",
            **_context(query, page=page),
            rows=rows.render(page.alerts, now=now),
            version=_version(page.alerts),
            saved=_saved(views),
        )

    @pages.get("/alerts/facets")
    def facets() -> ResponseReturnValue:
        parsed = queries.parse(request.args)
        query = parsed.query.first_page()
        parameters = query.api_filter(now=dt.datetime.now(dt.UTC))
        found = facet_sets.get(
            urlencode(sorted(query.filters.items())), lambda: api.facets(parameters, caller())
        )
        return render_template(
            "facets.html",
            query=query,
            query_string=urlencode(query.pairs()),
            queries=queries,
            facets=found,
            link=link,
        )

    @pages.get("/alerts/live")
    def live() -> ResponseReturnValue:
        parsed = queries.parse(request.args)
        now = dt.datetime.now(dt.UTC)
        parameters = parsed.query.for_api(now=now)
        try:
            page = live_pages.get(
                urlencode(sorted(parsed.query.pairs())), lambda: api.alerts(parameters, caller())
            )
            content = rows.render(page.alerts, now=now)
        except ApiError as error:
            return Response(error.text, error.status, content_type="text/plain; charset=utf-8")
        response = Response(headers={"Cache-Control": "no-store"})
        version = _version(page.alerts)
        response.set_etag(version)
        if request.if_none_match.contains_weak(version):
            response.status_code = 304
        else:
            response.set_data(f"<table><tbody>{content}</tbody></table>")
        return response

    return pages


def _saved(views: SavedViews) -> list[tuple[str, Query, bool]]:
    """Name and filter of the saved views, and whether they are shared. The list needs no views."""
    try:
        found = views.visible(caller())
    except ApiError:
        return []
    return [(view.name, query_of(view), view.shared) for view in found]


def link(query: Query) -> str:
    """The URL of a list."""
    path = cached_url_for("alerts.listing")
    encoded = _encoded(query)
    return f"{path}?{encoded}" if encoded else path


@lru_cache(256)
def _encoded(query: Query) -> str:
    """The parameters of the URL of a list."""
    return urlencode(query.pairs())


def _context(
    query: Query, *, page: RawPage | None = None, problems: Sequence[queries.Problem] = ()
) -> dict[str, object]:
    return {
        "query": query,
        "problems": problems,
        "found": len(page.alerts) if page else 0,
        "next_cursor": page.next_cursor if page else None,
        "queries": queries,
        "link": link,
        "tabs": _tabs(person()),
        "query_string": _encoded(query),
    }


def _tabs(user: str) -> list[tuple[str, Query]]:
    unresolved = "open,acknowledged"
    return [
        (gettext("Unresolved"), Query(status=unresolved)),
        (gettext("Assigned to me"), Query(status=unresolved, assignee=user)),
        (gettext("Active again"), Query(status=unresolved, active_again="true")),
        (gettext("Resolved"), Query(status="resolved")),
        (gettext("All"), Query()),
    ]


def _version(alerts: Sequence[Raw]) -> str:
    """Changes whenever a row or the order of the rows changes."""
    digest = hashlib.blake2b(digest_size=12)
    for raw in alerts:
        digest.update(raw)
    return digest.hexdigest()
