"""Reads the details of alerts. PostgreSQL encodes a detail again only if its alert has changed."""

import threading
import time
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from cachetools import LRUCache
from msgspec import Struct

from notification_service.database import arrays, prepared
from notification_service.database.alert_json import (
    DETAIL_VERSIONS,
    DETAILS,
    MAX_EVENT_BYTES,
    MAX_FINDINGS,
)
from notification_service.database.pool import Pool

#: Maximum size of all kept details, in characters. Most have 5,000 to 20,000.
MAX_KEPT: Final = 4 * 2**20
#: A detail is read again after this time, in seconds. Retention deletes findings, and their alert
#: does not change.
KEPT_SECONDS: Final = 30.0


class _Detail(Struct, frozen=True):
    """An encoded detail. ``read_at`` is on the monotonic clock."""

    text: str
    version: str
    read_at: float


class Details:
    """The encoded details of alerts, without ``allowed_actions``. It is thread-safe."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: LRUCache[UUID, _Detail] = LRUCache(
            MAX_KEPT, getsizeof=lambda detail: len(detail.text)
        )
        self._lock = threading.Lock()

    def read(self, alert_ids: Iterable[UUID]) -> dict[UUID, str]:
        """The detail of each alert that exists.

        Raises:
            Unavailable: the database is unavailable, or a statement takes too long.
        """
        wanted = set(alert_ids)
        oldest = time.monotonic() - KEPT_SECONDS
        with self._lock:
            kept = {key: self._kept.get(key) for key in wanted}
        recent = {key: it for key, it in kept.items() if it is not None and it.read_at > oldest}
        found: dict[UUID, str] = {}
        with self._pool.cursor() as cursor:
            if recent:
                prepared.execute(cursor, DETAIL_VERSIONS, {"alerts": arrays.literal(recent)})
                for alert_id, version in cursor.fetchall():
                    detail = recent[key := UUID(alert_id)]
                    if detail.version == version:
                        found[key] = detail.text
            if changed := wanted - found.keys():
                limits = {"findings": MAX_FINDINGS, "bytes": MAX_EVENT_BYTES}
                read_at = time.monotonic()
                prepared.execute(cursor, DETAILS, {"alerts": arrays.literal(changed), **limits})
                for alert_id, text, version in cursor.fetchall():
                    found[UUID(alert_id)] = text
                    self._keep(UUID(alert_id), _Detail(text, version, read_at))
        return found

    def _keep(self, alert_id: UUID, detail: _Detail) -> None:
        with self._lock:
            try:
                self._kept[alert_id] = detail
            except ValueError:  # it is larger than the cache
                self._kept.pop(alert_id, None)
