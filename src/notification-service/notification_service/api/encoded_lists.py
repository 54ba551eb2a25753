"""Encodes lists of alerts, and keeps the last encoded lists.

A list that has not changed since its last read is not encoded again. Its alerts are then the same
objects, because the reader keeps encoded alerts by version, so the comparison is cheap.
"""

import threading
from collections import OrderedDict
from typing import Final

from msgspec import Struct

from auditflow.contract.alert import Counts
from notification_service.api.alerts import encode_list, etag_of
from notification_service.cursor import Cursors
from notification_service.database.alert_reader import Page
from notification_service.query import AlertQuery

#: Maximum size of the kept lists, in bytes. A list of 50 alerts has about 40 KB.
MAX_BYTES: Final = 4 * 2**20


class EncodedList(Struct, frozen=True):
    """An encoded ``AlertList`` and its ETag."""

    body: bytes
    etag: str


class _Kept(Struct, frozen=True):
    page: Page
    counts: Counts | None
    encoded: EncodedList


class EncodedLists:
    """Encoded lists by query. It is thread-safe."""

    def __init__(self, cursors: Cursors) -> None:
        self._cursors = cursors
        self._kept: OrderedDict[tuple[AlertQuery, bool], _Kept] = OrderedDict()
        #: Size of the kept lists, at most MAX_BYTES.
        self.kept_bytes = 0
        self._lock = threading.Lock()

    def encode(self, query: AlertQuery, page: Page, counts: Counts | None) -> EncodedList:
        """The encoded list of a page that was read now, with counts or without (None)."""
        key = query, counts is not None
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.page == page and kept.counts == counts:
                self._kept.move_to_end(key)
                return kept.encoded
        body = encode_list(page, self._cursors, counts)
        encoded = EncodedList(body, etag_of(body))
        with self._lock:
            self._remove(key)
            self._kept[key] = _Kept(page, counts, encoded)
            self.kept_bytes += len(body)
            while self.kept_bytes > MAX_BYTES:
                self._remove(next(iter(self._kept)))
        return encoded

    def _remove(self, key: tuple[AlertQuery, bool]) -> None:
        removed = self._kept.pop(key, None)
        if removed is not None:
            self.kept_bytes -= len(removed.encoded.body)
