"""Keeps rendered pages, without the values of a single response.

A page is rendered with a marker at each such value: the nonce, the CSRF token, the time of the
response, relative times, and fragments that are kept on their own. The text between the markers is
kept. It belongs to one user in one role, one language and time zone, one URL and one version of the
data, so nobody gets a page that was rendered for somebody else.
"""

import datetime as dt
import re
import secrets
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from cachetools import LRUCache
from flask import Response, g, render_template, request, session
from markupsafe import escape
from msgspec import Struct

from event_audit_dashboard.localization import translation, zones
from event_audit_dashboard.presentation import times
from event_audit_dashboard.rendering import compression, fragments
from event_audit_dashboard.rendering.csrf import masked_token
from event_audit_dashboard.rendering.fragments import Fragment, Part
from event_audit_dashboard.rendering.headers import nonce

#: Maximum size of all kept pages, in bytes. A list without its rows has about 15 KB.
MAX_BYTES: Final = 8 * 2**20
#: Maximum length of the path and query of a kept page, in characters. The limit of the cache does
#: not count them, so that a client could fill the memory with long queries.
MAX_PATH: Final = 2048
#: Starts a marker. It is random, so that no text of an event or a user can contain it. It has no
#: character that HTML escapes.
_MARKER: Final = f"\x02{secrets.token_hex(16)}:"
_MARKERS: Final = re.compile(re.escape(_MARKER) + "([a-z0-9_]+)\x03")


class _Page(Struct, frozen=True):
    """The text around the markers, and the name of each marker between two texts."""

    texts: tuple[Fragment, ...]
    names: tuple[str, ...]
    #: The times that the page shows as relative times, by the name of their marker.
    times: dict[str, dt.datetime]

    @property
    def size(self) -> int:
        return 2 * sum(len(text.content) for text in self.texts)


class PageCache:
    """Renders pages of signed-in users. It is thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._pages: LRUCache[Hashable, _Page] = LRUCache(
            max_bytes, getsizeof=lambda page: page.size
        )
        self._lock = threading.Lock()

    def render(
        self,
        template: str,
        *,
        version: Hashable,
        context: Callable[[], Mapping[str, Any]],
        parts: Mapping[str, Fragment] | None = None,
    ) -> Response:
        """A page as a response.

        ``version`` covers everything in ``context`` that the URL, the user, the role, the language
        and the time zone do not determine. With None, the page is not kept. ``parts`` are fragments
        for variables of the template. Its variables ``sent_at`` and ``sent_clock`` are the time of
        the response.
        """
        now = dt.datetime.now(dt.UTC)
        parts = parts or {}
        page = self._page(template, version, context, parts, now)
        content = _fill(page, parts, now)
        if not compression.accepts_gzip():
            return Response(fragments.join(content), content_type="text/html; charset=utf-8")
        return Response(
            fragments.join_compressed(content),
            headers={"Content-Encoding": "gzip"},
            content_type="text/html; charset=utf-8",
        )

    def _page(
        self,
        template: str,
        version: Hashable,
        context: Callable[[], Mapping[str, Any]],
        parts: Mapping[str, Fragment],
        now: dt.datetime,
    ) -> _Page:
        is_long = len(request.full_path) > MAX_PATH
        if version is None or is_long or "notices" in session:  # notices are shown once
            return _render(template, context(), parts, now)
        key = (
            template, version, tuple(parts), request.method, request.script_root,
            request.full_path, g.user, g.role, translation.current().code, zones.name(),
        )  # fmt: skip
        with self._lock:
            page = self._pages.get(key)
        if page is None:
            page = _render(template, context(), parts, now)
            if page.size <= self._pages.maxsize:
                with self._lock:
                    self._pages[key] = page
        return page


def _render(
    template: str, context: Mapping[str, Any], parts: Mapping[str, Fragment], now: dt.datetime
) -> _Page:
    shown: dict[str, dt.datetime] = {}

    def ago(timestamp: dt.datetime, now: dt.datetime) -> str:
        name = f"ago_{len(shown)}"
        shown[name] = timestamp
        return _marker(name)

    text = render_template(
        template,
        **context,
        **{name: _marker(name) for name in (*parts, "csp_nonce", "sent_at", "sent_clock")},
        csrf_token=lambda: _marker("csrf_token"),
        now=now,
        ago=ago,
    )
    split = _MARKERS.split(text)
    texts = tuple(Fragment(text.encode()) for text in split[::2])
    return _Page(texts, tuple(split[1::2]), shown)


def _marker(name: str) -> str:
    return f"{_MARKER}{name}\x03"


def _fill(page: _Page, parts: Mapping[str, Fragment], now: dt.datetime) -> list[Part]:
    values: dict[str, Part] = {**parts, "csp_nonce": nonce().encode()}
    content: list[Part] = [page.texts[0]]
    for name, text in zip(page.names, page.texts[1:], strict=True):
        if name not in values:
            timestamp = page.times.get(name)
            values[name] = (
                _value(name, now)
                if timestamp is None
                else escape(times.ago(timestamp, now)).encode()
            )
        content += (values[name], text)
    return content


def _value(name: str, now: dt.datetime) -> bytes:
    match name:
        case "csrf_token":
            value = masked_token()
        case "sent_at":
            value = times.machine(now)
        case _:
            value = times.local_clock(now, zones.current())
    return value.encode()
