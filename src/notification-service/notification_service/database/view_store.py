"""Saved views of the alert list in PostgreSQL."""

from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from auditflow.contract.saved_view import SavedView
from auditflow.errors import AuditFlowError
from notification_service.database.pool import Pool

#: Views of one person, and shared views in total.
MAX_OWN: Final = 50
MAX_SHARED: Final = 200

_COLUMNS: Final = "view_id, name, query, shared, owner, created_at"
_LIST: Final = f"""
    SELECT {_COLUMNS} FROM saved_views WHERE owner = %(owner)s OR shared
    ORDER BY lower(name), owner LIMIT {MAX_OWN + MAX_SHARED}
"""
_GET: Final = f"SELECT {_COLUMNS} FROM saved_views WHERE view_id = %s"
# One writer at a time, so that the limits are exact.
_LOCK: Final = "SELECT pg_advisory_xact_lock(4713, 6)"
_COUNTS: Final = """
    SELECT count(*) FILTER (WHERE owner = %(owner)s), count(*) FILTER (WHERE shared)
    FROM saved_views WHERE NOT (owner = %(owner)s AND name = %(name)s)
"""
_PUT: Final = f"""
    INSERT INTO saved_views (view_id, name, query, shared, owner)
    VALUES (%(view_id)s, %(name)s, %(query)s, %(shared)s, %(owner)s)
    ON CONFLICT (owner, name) DO UPDATE SET (query, shared) = (excluded.query, excluded.shared)
    RETURNING {_COLUMNS}
"""
_DELETE: Final = f"DELETE FROM saved_views WHERE view_id = %s RETURNING {_COLUMNS}"


class TooManyViews(AuditFlowError):
    """The person has the maximum number of views, or there are too many shared ones."""


class ViewStore:
    """Reads and changes saved views."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def visible(self, owner: str) -> list[SavedView]:
        """The views of a person, and all shared ones."""
        with self._pool.cursor() as cursor:
            cursor.execute(_LIST, {"owner": owner})
            return [_view(row) for row in cursor.fetchall()]

    def get(self, view_id: UUID) -> SavedView | None:
        """One view."""
        with self._pool.cursor() as cursor:
            cursor.execute(_GET, (str(view_id),))
            row = cursor.fetchone()
        return _view(row) if row else None

    def put(self, owner: str, name: str, query: str, *, shared: bool) -> SavedView:
        """Save a view. It replaces the one with the same name and owner.

        Raises:
            TooManyViews: a limit is reached.
        """
        values = {
            "view_id": str(uuid4()), "owner": owner, "name": name, "query": query, "shared": shared,
        }  # fmt: skip
        with self._pool.cursor() as cursor:
            cursor.execute(_LOCK)
            cursor.execute(_COUNTS, values)
            own, shared_total = cursor.fetchall()[0]
            if own >= MAX_OWN or (shared and shared_total >= MAX_SHARED):
                raise TooManyViews("There are too many saved views. Delete one that is not needed.")
            cursor.execute(_PUT, values)
            return _view(cursor.fetchall()[0])

    def delete(self, view_id: UUID) -> SavedView | None:
        """Delete a view, or return None if it does not exist."""
        with self._pool.cursor() as cursor:
            cursor.execute(_DELETE, (str(view_id),))
            row = cursor.fetchone()
        return _view(row) if row else None


def _view(row: tuple[Any, ...]) -> SavedView:
    return msgspec.convert(dict(zip(SavedView.__struct_fields__, row, strict=True)), SavedView)
