"""A cache whose entries expire after a time."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from cachetools import TTLCache

T = TypeVar("T")


class TimedCache(Generic[T]):
    """Keeps up to ``size`` results for some seconds. Requests with the same key share one load."""

    def __init__(self, *, seconds: float, size: int = 256) -> None:
        self._entries: TTLCache[str, T] = TTLCache(size, seconds)
        self._loading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def discard(self, key: str) -> None:
        """Remove the result for ``key``, so that the next ``get`` loads it."""
        with self._lock:
            self._entries.pop(key, None)

    def get(self, key: str, load: Callable[[], T]) -> T:
        """The cached result for ``key``, or the result of ``load``. Errors are not cached."""
        with self._lock:
            if key in self._entries:
                return self._entries[key]
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._entries:
                    return self._entries[key]
            try:
                result = load()
                with self._lock:
                    self._entries[key] = result
                return result
            finally:
                with self._lock:
                    self._loading.pop(key, None)
