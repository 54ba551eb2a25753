"""Saved views of the alert list, from the notification service's API."""

import itertools
from typing import Final
from urllib.parse import parse_qsl, urlencode

from werkzeug.datastructures import MultiDict

from auditflow.contract.saved_view import SavedView, SavedViewList
from event_audit_dashboard import query as queries
from event_audit_dashboard.apis.client import ApiClient, Caller, segment
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.query import Query

#: A view that another person shares appears after at most this time, in seconds.
SHARED_SECONDS: Final = 5.0
_PATH: Final = "/api/v1/views"


class SavedViews:
    """Reads, saves and deletes views. It is thread-safe."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._cached: TimedCache[tuple[SavedView, ...]] = TimedCache(seconds=SHARED_SECONDS)
        self._generations = itertools.count()
        self._generation = next(self._generations)

    def visible(self, caller: Caller) -> tuple[SavedView, ...]:
        """The views of the person, and all shared ones."""
        key = f"{self._generation} {caller.person}"
        return self._cached.get(key, lambda: self._client.get(_PATH, caller, SavedViewList).views)

    def save(self, name: str, query: Query, caller: Caller, *, shared: bool) -> None:
        """Save a view. It replaces the person's view with the same name."""
        text = urlencode(query.first_page().pairs())
        body = {"name": name, "query": text, "shared": shared}
        self._client.post(_PATH, caller, SavedView, body)
        self._generation = next(self._generations)

    def delete(self, view_id: str, caller: Caller) -> None:
        """Delete a view."""
        self._client.send("DELETE", f"{_PATH}/{segment(view_id)}", caller)
        self._generation = next(self._generations)


def query_of(view: SavedView) -> Query:
    """The filter and order of a view, without what this version does not support."""
    return queries.parse(MultiDict(parse_qsl(view.query))).query
