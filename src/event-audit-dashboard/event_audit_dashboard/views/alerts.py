"""The alert list, its facets and its live part."""

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from auditflow.contract.alert import Facets
from auditflow.contract.saved_view import SavedView
from event_audit_dashboard import query as queries
from event_audit_dashboard.apis.notification_service import ListedPage, NotificationService
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import ApiError
from event_audit_dashboard.localization.translation import gettext
from event_audit_dashboard.query import Query
from event_audit_dashboard.rendering.fragments import Fragment
from event_audit_dashboard.rendering.page_cache import PageCache
from event_audit_dashboard.rendering.rows import RowRenderer
from event_audit_dashboard.rendering.urls import cached_url_for
from event_audit_dashboard.saved_views import SavedViews, query_of
from event_audit_dashboard.views.common import caller, person

#: All viewers of the same filter share the API's response for this time, in seconds.
LIVE_SECONDS = 0.9
FACET_SECONDS = 3.0


def blueprint(
    api: NotificationService, rows: RowRenderer, views: SavedViews, rendered: PageCache
) -> Blueprint:
    """``/alerts``, ``/alerts/facets`` and ``/alerts/live``."""
    pages = Blueprint("alerts", __name__)
    live_pages: TimedCache[ListedPage] = TimedCache(seconds=LIVE_SECONDS)
    facet_sets: TimedCache[Facets] = TimedCache(seconds=FACET_SECONDS)

    @pages.get("/alerts")
    def listing() -> ResponseReturnValue:
        parsed = queries.parse(request.args)
        if parsed.problems:
            context = _context(parsed.query, problems=parsed.problems)
            response = rendered.render(
                "alerts.html",
                version=None,
                context=lambda: {**context, "version": "", "saved": ()},
                parts={"rows": Fragment(b"")},
            )
            response.status_code = 400
            return response
        query = parsed.query
        if not queries.is_canonical(request.args, query):
            return redirect(link(query))
        now = dt.datetime.now(dt.UTC)
        parameters = query.for_api(now=now)
        page = api.alerts(parameters, caller())
        saved = _saved(views)
        return rendered.render(
            "alerts.html",
            # The time of a range is part of the parameters.
            version=(
                page.version,
                page.next_cursor,
                tuple(parameters.values()),
                tuple((view.name, view.query, view.shared) for view in saved),
            ),
            context=lambda: {
                **_context(query, page=page),
                "version": page.version,
                "saved": [(view.name, query_of(view), view.shared) for view in saved],
            },
            parts={"rows": rows.render(page, now=now)},
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
            content = rows.render(page, now=now).content
        except ApiError as error:
            return Response(error.text, error.status, content_type="text/plain; charset=utf-8")
        response = Response(headers={"Cache-Control": "no-store"})
        response.set_etag(page.version)
        if request.if_none_match.contains_weak(page.version):
            response.status_code = 304
        else:
            response.set_data(b"<table><tbody>" + content + b"</tbody></table>")
        return response

    return pages


def _saved(views: SavedViews) -> tuple[SavedView, ...]:
    """The saved views that the person sees. The list needs no views."""
    try:
        return views.visible(caller())
    except ApiError:
        return ()


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
    query: Query, *, page: ListedPage | None = None, problems: Sequence[queries.Problem] = ()
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
