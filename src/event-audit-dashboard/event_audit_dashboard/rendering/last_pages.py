"""Keeps the last version of each page of a session, to show it during an outage of an API.

A page belongs to one session: nobody else gets it, also not the same user after the next sign-in.
The pages are in the memory of the process, so another replica does not have them. The number of
sessions and the size of their pages are limited.
"""

import datetime as dt
import gzip
import re
import threading
from typing import Final

from cachetools import LRUCache, TTLCache
from flask import Flask, Response, g, request, session
from markupsafe import Markup
from msgspec import Struct

from event_audit_dashboard.access.sessions import SESSION_SECONDS

#: Maximum number of sessions.
MAX_SESSIONS: Final = 64
#: Maximum size of the pages of one session, in bytes. Most pages have 5 to 20 kB.
MAX_BYTES: Final = 256 * 1024
_MAIN_START: Final = '<main id="main"'
_MAIN_END: Final = "</main>"
#: Their nonce is that of another response. Without htmx, links and forms work. Jinja escapes quotes
#: in data, so this finds only attributes of the templates.
_HTMX: Final = re.compile(r' hx-[a-z:-]+="[^"]*"')


class LastPage(Struct, frozen=True):
    """A page as it was sent. ``path`` has the query."""

    path: str
    body: bytes
    encoding: str
    loaded_at: dt.datetime

    def main(self) -> Markup | None:
        """The content of the page's element ``main``. Its templates have escaped all data.

        None if the response is only a part of a page.
        """
        body = gzip.decompress(self.body) if self.encoding == "gzip" else self.body
        text = body.decode()
        start, end = text.find(_MAIN_START), text.rfind(_MAIN_END)
        if start < 0 or end < 0:
            return None
        return Markup(_HTMX.sub("", text[text.index(">", start) + 1 : end]))  # noqa: S704 # nosec B704 # a page of this program


class LastPages:
    """The last pages of the sessions. It is thread-safe."""

    def __init__(self, app: Flask | None = None) -> None:
        """Keep the pages that ``app`` sends to signed-in users, as they are sent."""
        self._sessions: TTLCache[str, LRUCache[str, LastPage]] = TTLCache(
            MAX_SESSIONS, SESSION_SECONDS
        )
        self._lock = threading.Lock()
        if app is not None:
            self._add_to(app)

    def put(self, session_id: str, page: LastPage) -> None:
        """Keep a page. The oldest pages are deleted if they are too large together."""
        if _size(page) > MAX_BYTES:
            return
        with self._lock:
            pages = self._sessions.get(session_id)
            if pages is None:
                pages = self._sessions[session_id] = LRUCache(MAX_BYTES, getsizeof=_size)
            pages[page.path] = page

    def get(self, session_id: str, path: str) -> LastPage | None:
        """The last version of a page of this session."""
        with self._lock:
            pages = self._sessions.get(session_id)
            return None if pages is None else pages.get(path)

    def _add_to(self, app: Flask) -> None:
        @app.after_request
        def _keep(response: Response) -> Response:
            # Reading the session adds "Vary: Cookie". Static files must not have it.
            if not g.get("user") or not _is_page(response):
                return response
            session_id = session.get("id")
            if isinstance(session_id, str):
                self.put(
                    session_id,
                    LastPage(
                        path=request.full_path,
                        body=response.get_data(),
                        encoding=response.headers.get("Content-Encoding", ""),
                        loaded_at=dt.datetime.now(dt.UTC),
                    ),
                )
            return response

    def of_request(self) -> LastPage | None:
        """The last version of the requested page, for the user who requests it."""
        session_id = session.get("id")
        if request.method != "GET" or not g.get("user") or not isinstance(session_id, str):
            return None
        return self.get(session_id, request.full_path)


def _size(page: LastPage) -> int:
    return len(page.body) + len(page.path)


def _is_page(response: Response) -> bool:
    return (
        request.method == "GET"
        and response.status_code == 200
        and response.mimetype == "text/html"
        and not response.is_streamed
        and not str(request.endpoint).startswith("sign_in.")
    )
