"""The queries of the API. Each answer comes from one statement, so from one snapshot."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.contract.alert import Counts, Status
from auditflow.contract.triage import HistoryEntry
from notification_service.cursor import Position
from notification_service.database import candidates, newest, prepared
from notification_service.database.alert_filters import (
    NOT_FEW,
    Few,
    conditions,
    levels,
    time_branches,
)
from notification_service.database.alert_json import (
    SUMMARY,
    VERSION,
)
from notification_service.database.details import Details
from notification_service.database.facets import read_counts
from notification_service.database.pool import Pool
from notification_service.order import KEYS, Key, Sort
from notification_service.query import AlertFilter, AlertQuery

#: Entries on a page of the history.
HISTORY_PAGE: Final = 100

#: Maximum number of encoded alerts that are kept between two pages, about 1 KiB each.
MAX_ENCODED: Final = 2_000
_ENCODED: Final = "row_to_json(r)::text"

#: The alerts of an observable or a text with at most this many are read first and sorted. Alerts of
#: others are searched in the order of the list, because the page is full before all are read.
FEW_ALERTS: Final = 7_000
# One branch for each status and, where the filter selects levels, for each level. Each branch reads
# an index in the order of the list and stops at the limit.
_PAGE = """
    SELECT {keys}, t.alert_id, {content}
    FROM ({branches}) AS t {summary}
    ORDER BY {order} LIMIT {limit} OFFSET {offset}
"""
_BRANCH = """
    (SELECT * FROM alerts WHERE {status} AND {level} AND {where} AND {after}
     ORDER BY {order} LIMIT {end})
"""
# The order by risk. Alerts of one entity are together, so the identifier of the entity is a key.
_WITH_RISK = """
    (SELECT * FROM (
        SELECT found.*, e.risk, e.entity_kind AS risk_kind, e.entity_value AS risk_value
        FROM entity_risk AS e CROSS JOIN LATERAL (
            SELECT * FROM alerts
            WHERE entity_kind = e.entity_kind AND entity_value = e.entity_value
              AND {status} AND {level} AND {where}
            ORDER BY last_seen DESC, alert_id DESC OFFSET 0
        ) AS found
     ) AS a WHERE {after} ORDER BY {order} LIMIT {end})
"""
_WITHOUT_RISK = """
    (SELECT * FROM (
        SELECT alerts.*, 0 AS risk, '' AS risk_kind, '' AS risk_value FROM alerts
        WHERE {status} AND {level} AND {where} AND NOT EXISTS (
            SELECT FROM entity_risk AS e WHERE e.entity_kind = alerts.entity_kind
            AND e.entity_value = alerts.entity_value)
     ) AS a WHERE {after} ORDER BY {order} LIMIT {end})
"""
_HISTORY: Final = """
    SELECT entry, encode(hash, 'hex') FROM alert_history
    WHERE alert_id = %(alert)s AND number < %(before)s ORDER BY number DESC LIMIT %(limit)s
"""
_SUMMARY: Final = f"""
    SELECT row_to_json(r)::text, t.triage_version FROM alerts AS t {SUMMARY}
    WHERE t.alert_id = %(alert)s
"""
_LEVEL_RANKS: Final = {
    "informational": 0,
    "low": 1,
    "medium": 2,
    "high": 3,
    "critical": 4,
    "none": -1,
}


class Page(Struct, frozen=True):
    """Encoded ``AlertSummary`` messages and the position of the next page, if there is one."""

    alerts: list[str]
    next: Position | None


class AlertReader:
    """Reads alerts. Any number of threads may use it at the same time."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        #: Encoded ``AlertSummary`` messages by identifier and version.
        self._encoded: dict[tuple[str, str], str] = {}
        self._details = Details(pool)

    def page(self, query: AlertQuery) -> Page:
        """One page of the alerts that match.

        Raises:
            Unavailable: the database is unavailable, or a statement takes too long.
        """
        return _page(query, self._rows(query))

    @staticmethod
    def is_short(query: AlertQuery) -> bool:
        """Whether ``pages`` reads this page in a short time, for any values in the filter."""
        return _plan(query) is not None

    def pages(self, queries: Iterable[AlertQuery]) -> dict[AlertQuery, Page]:
        """Several pages, one after the other on one connection.

        Raises:
            Unavailable: the database is unavailable, or a statement takes too long.
        """
        with self.pool.cursor() as cursor:
            return {query: _page(query, self._rows(query, cursor)) for query in queries}

    def counts(self, query: AlertFilter) -> Counts:
        """How many alerts match."""
        return read_counts(self.pool, query)

    def detail(self, alert_id: UUID) -> str | None:
        """An encoded ``AlertDetail`` without ``allowed_actions``, or None."""
        return self.details([alert_id]).get(alert_id)

    def details(self, alert_ids: Iterable[UUID]) -> dict[UUID, str]:
        """The encoded ``AlertDetail`` of each alert that exists, without ``allowed_actions``."""
        return self._details.read(alert_ids)

    def summary(self, alert_id: UUID) -> tuple[str, int] | None:
        """An encoded ``AlertSummary`` and its ``triage_version``, or None."""
        rows = self._fetch_prepared(_SUMMARY, {"alert": str(alert_id)})
        return (str(rows[0][0]), int(rows[0][1])) if rows else None

    def history(self, alert_id: UUID, before: int | None) -> list[HistoryEntry]:
        """The newest entries of an alert's history with numbers below ``before``."""
        values = {
            "alert": str(alert_id),
            "before": before if before is not None else 2**62,
            "limit": HISTORY_PAGE,
        }
        return [
            msgspec.convert({**msgspec.json.decode(entry), "hash": digest}, HistoryEntry)
            for entry, digest in self._fetch_prepared(_HISTORY, values)
        ]

    def _rows(self, query: AlertQuery, cursor: Cursor | None = None) -> Sequence[tuple[Any, ...]]:
        if plan := _plan(query):
            if cursor is not None:
                return self._rows_of_plan(plan, cursor)
            with self.pool.cursor() as own:
                return self._rows_of_plan(plan, own)
        few = candidates.read(self.pool, query, most=FEW_ALERTS)
        if newest.supports(query) and (page := newest.find(self.pool, query, few)):
            found = self._fetch(*_page_statement(query, Few(texts=page)))
            if len(found) > query.limit:
                return found
            # An alert has changed since, and the page is too short.
        if query.sort is not Sort.RISK:
            statement, values = _page_statement(query, few)
            return self._fetch(statement, values)
        # Alerts of entities with a risk come first. Only if they do not fill the page, the others
        # follow, in the order of their last activity.
        rows: list[tuple[Any, ...]] = []
        if query.after is None or query.after.keys[0] != "0":
            rows += self._fetch(*_page_statement(query, few, branch=_WITH_RISK))
        if len(rows) <= query.limit:
            rows += self._fetch(*_page_statement(query, few, branch=_WITHOUT_RISK))
        return rows[: query.limit + 1]

    def _rows_of_plan(self, plan: "_Plan", cursor: Cursor) -> Sequence[tuple[Any, ...]]:
        """The rows of a page. Encoding alerts is the largest part of the work of PostgreSQL.

        If all alerts of the page are kept in their current version, PostgreSQL encodes nothing.
        Otherwise it reads the page again, so that all rows come from one snapshot.
        """
        prepared.execute(cursor, plan.versions, plan.values)
        rows = cursor.fetchall()
        texts = [self._encoded.get((alert_id, version)) for *_, alert_id, version in rows]
        if None not in texts:
            return [(*row[:-1], text) for row, text in zip(rows, texts, strict=True)]
        prepared.execute(cursor, plan.page, plan.values)
        rows = cursor.fetchall()
        if len(self._encoded) > MAX_ENCODED:
            self._encoded.clear()
        for *_, alert_id, version, text in rows:
            self._encoded[alert_id, version] = text
        return [(*row[:-2], row[-1]) for row in rows]

    def _fetch(self, statement: Any, values: dict[str, Any]) -> Sequence[tuple[Any, ...]]:
        with self.pool.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def _fetch_prepared(self, statement: str, values: dict[str, Any]) -> Sequence[tuple[Any, ...]]:
        with self.pool.cursor() as cursor:
            prepared.execute(cursor, statement, values)
            return cursor.fetchall()


def _page(query: AlertQuery, rows: Sequence[tuple[Any, ...]]) -> Page:
    """The page of rows, which are one more than the limit if there is a next page."""
    shown = rows[: query.limit]
    next_position = None
    if len(rows) > query.limit:
        *keys, alert_id, _ = shown[-1]
        next_position = Position(query.sort, tuple(keys), UUID(alert_id))
    return Page([row[-1] for row in shown], next_position)


class _Plan(Struct, frozen=True):
    """The statements of a page: one for the encoded alerts, and one for their versions only."""

    page: str
    versions: str
    values: dict[str, Any]


@lru_cache(256)
def _plan(query: AlertQuery) -> _Plan | None:
    """The statements of a page if they can be prepared.

    None if the best plan can depend on the values, which is so with conditions on other columns
    than status and level, or if the order needs several statements.
    """
    if query.sort is Sort.RISK or conditions(query, with_status_and_level=False).values:
        return None
    page, values = _page_statement(query, NOT_FEW, content=f"{VERSION}, {_ENCODED}")
    versions, _ = _page_statement(query, NOT_FEW, content=VERSION, summary="")
    return _Plan(page, versions, values)


def _page_statement(
    query: AlertQuery,
    few: Few,
    *,
    branch: str = _BRANCH,
    content: str = _ENCODED,
    summary: str = SUMMARY,
) -> tuple[str, dict[str, Any]]:
    keys = KEYS[query.sort]
    matching = conditions(query, with_status_and_level=False, few=few)
    # Few alerts, or the alerts of a rule in the order of its index, need no branches.
    together = (
        bool(few)
        or branch is _WITH_RISK
        or (query.rule is not None and query.sort is Sort.ACTIVITY)
    )
    values = dict(matching.values)
    end = query.limit + 1 + query.offset
    after = "true"
    if query.after is not None:
        after = _after(keys)
        values.update({f"key_{n}": key for n, key in enumerate(query.after.keys)})
        values["after_id"] = str(query.after.alert_id)
    statement = _PAGE.format(
        keys=_listed(keys, "t.", "::text"),
        content=content,
        branches=" UNION ALL ".join(
            branch.format(
                status=_status(statuses),
                level=level,
                where=f"{matching.where} AND {time}",
                after=after,
                order=_order(keys, ""),
                end=end,
            )
            for statuses in _status_branches(query, together=together)
            for level in _level_branches(query, together=together)
            for time in _time_branches(query, together=together)
        ),
        summary=summary,
        order=_order(keys, "t."),
        limit=query.limit + 1,
        offset=query.offset,
    )
    return statement, values


def _status_branches(query: AlertQuery, *, together: bool) -> list[list[str]]:
    selected = [str(status) for status in query.status or tuple(Status)]
    return [selected] if together else [[status] for status in selected]


def _level_branches(query: AlertQuery, *, together: bool) -> list[str]:
    selected = levels(query)
    if not selected:
        return ["true"]
    ranks = [_LEVEL_RANKS[str(level)] for level in selected]
    if query.sort in (Sort.ACTIVITY, Sort.SEVERITY) and not together:
        return [f"level_rank = {rank}" for rank in ranks]
    return [f"level_rank IN ({', '.join(map(str, ranks))})"]


def _time_branches(query: AlertQuery, *, together: bool) -> list[str]:
    # Only the order by activity reads an index by time.
    return ["true"] if together or query.sort is not Sort.ACTIVITY else time_branches(query)


def _status(statuses: list[str]) -> str:
    # Only an equation lets the index return the rows of a status in the order of the list.
    if len(statuses) == 1:
        return f"status = '{statuses[0]}'"
    return "status IN ('" + "', '".join(statuses) + "')"


def _after(keys: Sequence[Key]) -> str:
    columns = ", ".join([*(key.column for key in keys), "alert_id"])
    values = ", ".join(
        [*(f"%(key_{n})s::{key.type}" for n, key in enumerate(keys)), "%(after_id)s::uuid"]
    )
    return f"({columns}) < ({values})"


def _order(keys: Sequence[Key], alias: str) -> str:
    columns = [*(key.column for key in keys), "alert_id"]
    return ", ".join(f"{alias}{column} DESC" for column in columns)


def _listed(keys: Sequence[Key], alias: str, cast: str) -> str:
    return ", ".join(f"{alias}{key.column}{cast}" for key in keys)
