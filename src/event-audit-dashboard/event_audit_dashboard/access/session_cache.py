"""Keeps sessions for a fraction of a second, so that requests in quick succession share one read.

A session that this process ends is ended at once. A session that another replica ends is refused
here after at most ``KEPT_SECONDS``.
"""

import threading
from typing import Final

from cachetools import TTLCache

from event_audit_dashboard.access.sessions import Session, SessionStore, is_expired

#: The time for which a session is kept, in seconds.
KEPT_SECONDS: Final = 0.5
#: Maximum number of kept sessions.
MAX_KEPT: Final = 1_000


class CachedSessions:
    """A ``SessionStore`` that keeps the sessions of another one. It is thread-safe."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._kept: TTLCache[str, Session] = TTLCache(MAX_KEPT, KEPT_SECONDS)
        #: Changes whenever sessions end, so that a read that began before keeps nothing.
        self._generation = 0
        self._lock = threading.Lock()

    def start(self, session: Session) -> str:
        """See ``SessionStore``."""
        try:
            return self._store.start(session)
        finally:
            self._forget()  # the oldest session of the user may have ended

    def get(self, identifier: str) -> Session | None:
        """See ``SessionStore``."""
        with self._lock:
            kept = self._kept.get(identifier)
            generation = self._generation
        if kept is not None:
            return None if is_expired(kept) else kept
        found = self._store.get(identifier)
        if found is not None:
            with self._lock:
                if generation == self._generation:
                    self._kept[identifier] = found
        return found

    def end(self, identifier: str) -> None:
        """See ``SessionStore``."""
        try:
            self._store.end(identifier)
        finally:
            self._forget()

    def end_all(self, user: str | None = None) -> int:
        """See ``SessionStore``."""
        try:
            return self._store.end_all(user)
        finally:
            self._forget()

    def end_identity(self, key: str) -> int:
        """See ``SessionStore``."""
        try:
            return self._store.end_identity(key)
        finally:
            self._forget()

    def first_use(self, value: str, seconds: int) -> bool:
        """See ``SessionStore``."""
        return self._store.first_use(value, seconds)

    def _forget(self) -> None:
        """Remove all kept sessions, after the store has ended some."""
        with self._lock:
            self._generation += 1
            self._kept.clear()
