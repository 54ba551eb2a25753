"""Renders the rows of the alert list. They are cached by the content of the alert and language."""

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from typing import Final

from cachetools import LRUCache
from jinja2 import Template
from markupsafe import Markup
from msgspec import Raw, Struct

from auditflow.contract.alert import AlertSummary
from event_audit_dashboard.presentation import times
from event_audit_dashboard.translation import current

#: Maximum number of cached rows, about 1 KiB each.
MAX_ROWS: Final = 4_000
#: Marks the position of the age in a rendered row. It cannot occur in a page: text is escaped.
_AGE: Final = "\x01"


class _Row(Struct, frozen=True):
    head: str
    tail: str
    last_seen: dt.datetime


class RowRenderer:
    """Renders alerts with the template ``_row.html``. It is thread-safe."""

    def __init__(self, template: Template, *, decode: Callable[[bytes], AlertSummary]) -> None:
        self._template = template
        self._decode = decode
        self._cache: LRUCache[tuple[str, bytes], _Row] = LRUCache(MAX_ROWS)
        self._lock = threading.Lock()

    def render(self, alerts: Sequence[Raw], *, now: dt.datetime) -> Markup:
        """The HTML of all rows. Each element of ``alerts`` is one alert as JSON.

        Raises:
            BadResponse: an alert violates the API contract.
        """
        parts: list[str] = []
        with self._lock:
            rows = [self._row(bytes(raw)) for raw in alerts]
        for row in rows:
            parts += (row.head, times.ago(row.last_seen, now), row.tail)
        return Markup("".join(parts))  # noqa: S704 # nosec B704 # the parts come from an escaping template

    def _row(self, content: bytes) -> _Row:
        key = current().code, content
        row = self._cache.get(key)
        if row is None:
            row = self._cache[key] = self._render(content)
        return row

    def _render(self, content: bytes) -> _Row:
        alert = self._decode(content)
        html = self._template.render(alert=alert, age=_AGE)
        head, _, tail = html.partition(_AGE)
        return _Row(head, tail, alert.last_seen)
