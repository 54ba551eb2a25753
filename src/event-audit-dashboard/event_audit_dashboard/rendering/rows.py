"""Renders the rows of the alert list.

A row is kept by the content of its alert and the language. The rows of a page are kept together
until the alerts or a relative time change.
"""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Final

from cachetools import LRUCache
from jinja2 import Template
from msgspec import Struct

from auditflow.contract.alert import AlertSummary
from event_audit_dashboard.apis.notification_service import ListedPage
from event_audit_dashboard.localization.translation import current
from event_audit_dashboard.presentation import times
from event_audit_dashboard.rendering.fragments import Fragment

#: Maximum number of rows that are kept, about 1 KiB each.
MAX_ROWS: Final = 4_000
#: Maximum size of the pages of rows that are kept, in bytes.
MAX_BYTES: Final = 8 * 2**20
#: Marks the position of the age in a rendered row. It cannot occur in a page: text is escaped.
_AGE: Final = "\x01"


class _Row(Struct, frozen=True):
    head: bytes
    tail: bytes
    last_seen: dt.datetime


class _Rows(Struct, frozen=True):
    """The rows of a page. ``fragment`` is correct before the time ``until``."""

    rows: tuple[_Row, ...]
    fragment: Fragment
    until: dt.datetime

    @property
    def size(self) -> int:
        return 2 * len(self.fragment.content)


class RowRenderer:
    """Renders alerts with the template ``_row.html``. It is thread-safe."""

    def __init__(self, template: Template, *, decode: Callable[[bytes], AlertSummary]) -> None:
        self._template = template
        self._decode = decode
        self._rows: LRUCache[tuple[str, bytes], _Row] = LRUCache(MAX_ROWS)
        self._pages: LRUCache[tuple[str, str], _Rows] = LRUCache(
            MAX_BYTES, getsizeof=lambda rows: rows.size
        )
        self._lock = threading.Lock()

    def render(self, page: ListedPage, *, now: dt.datetime) -> Fragment:
        """The HTML of all rows of a page.

        Raises:
            BadResponse: an alert violates the API contract.
        """
        key = current().code, page.version
        with self._lock:
            kept = self._pages.get(key)
            if kept is None or kept.until <= now:
                rows = (
                    tuple(self._row(bytes(raw)) for raw in page.alerts)
                    if kept is None
                    else kept.rows
                )
                kept = _join(rows, now)
                if kept.size <= MAX_BYTES:
                    self._pages[key] = kept
            return kept.fragment

    def _row(self, content: bytes) -> _Row:
        key = current().code, content
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._render(content)
        return row

    def _render(self, content: bytes) -> _Row:
        alert = self._decode(content)
        html = self._template.render(alert=alert, age=_AGE)
        head, _, tail = html.partition(_AGE)
        return _Row(head.encode(), tail.encode(), alert.last_seen)


def _join(rows: tuple[_Row, ...], now: dt.datetime) -> _Rows:
    parts: list[bytes] = []
    until = dt.datetime.max.replace(tzinfo=dt.UTC)
    for row in rows:
        parts += (row.head, times.ago(row.last_seen, now).encode(), row.tail)
        until = min(until, times.change_of_ago(row.last_seen, now))
    return _Rows(rows, Fragment(b"".join(parts)), until)
