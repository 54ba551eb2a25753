"""Reads the ledger: the report of a time range, and its differences."""

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

from audit_analysis.ledger import blocks
from audit_analysis.ledger.blocks import Block
from auditflow.contract.event import from_epoch_ms
from auditflow.contract.ledger_report import (
    LedgerCounts,
    LedgerDifference,
    LedgerHour,
    LedgerReport,
    LedgerState,
)
from auditflow.postgres import Connection, translated

#: An accepted event is missing if events are archived that were accepted this much later.
GRACE: Final = dt.timedelta(minutes=15)
#: Maximum number of differences of a report.
MAX_DIFFERENCES: Final = 100
#: Whether outstanding events of a block are missing, or wait for the archive.
_IS_MISSING: Final = "confirmed_ms < %(missing_before_ms)s"
_SUMS: Final = f"""
    sum(accepted_events), sum(analysed + refused + dead_lettered), sum(analysed), sum(late),
    sum(staged), sum(refused), sum(dead_lettered),
    coalesce(sum(outstanding) FILTER (WHERE NOT {_IS_MISSING}), 0),
    coalesce(sum(outstanding) FILTER (WHERE {_IS_MISSING}), 0),
    sum(altered), sum(unconfirmed), sum(repeated)
"""
#: The fields of ``LedgerCounts``, in the order of ``_SUMS``.
_FIELDS: Final = LedgerCounts.__struct_fields__


class LedgerReader:
    """Reads the ledger. Any thread may use it. Its methods raise Unavailable."""

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """``open_connection`` is called for each report."""
        self._open_connection = open_connection
        self._now = now

    def report(
        self, *, since: dt.datetime, until: dt.datetime, source: str | None = None
    ) -> LedgerReport:
        """The hours that begin in a time range; ``until`` is not included."""
        with translated(), closing(self._open_connection()) as connection:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                archived_until_ms = _archived_until_ms(cursor)
                parameters = {
                    "since": since,
                    "until": until,
                    "source": source,
                    "missing_before_ms": self._missing_before_ms(archived_until_ms),
                    "limit": MAX_DIFFERENCES + 1,
                }
                hours = _hours(cursor, parameters)
                differences = _differences(cursor, parameters)
        total = LedgerCounts(
            **{name: sum(getattr(hour, name) for hour in hours) for name in _FIELDS}
        )
        state = _state(total)
        return LedgerReport(
            since=since,
            until=until,
            state=LedgerState.DIFFERENT if differences else state,
            archived_until=None if archived_until_ms is None else from_epoch_ms(archived_until_ms),
            total=total,
            hours=hours,
            differences=tuple(differences[:MAX_DIFFERENCES]),
            differences_truncated=len(differences) > MAX_DIFFERENCES,
        )

    def _missing_before_ms(self, archived_until_ms: int | None) -> int:
        """Outstanding messages that were confirmed before this time are missing."""
        if archived_until_ms is None:
            return 0
        # The clock of an ingest can be ahead.
        now_ms = int(self._now().timestamp() * 1000)
        return min(archived_until_ms, now_ms) - GRACE // dt.timedelta(milliseconds=1)


def _archived_until_ms(cursor: Any) -> int | None:
    cursor.execute("SELECT archived_until_ms FROM archive.ledger_progress")
    row = cursor.fetchone()
    return None if row is None else int(row[0])


def _hours(cursor: Any, parameters: dict[str, Any]) -> tuple[LedgerHour, ...]:
    cursor.execute(
        f"SELECT hour, source, {_SUMS} FROM archive.ledger_blocks"
        " WHERE hour >= %(since)s AND hour < %(until)s"
        " AND (%(source)s::text IS NULL OR source = %(source)s)"
        " GROUP BY hour, source ORDER BY hour DESC, source",
        parameters,
    )
    hours = []
    for hour, source, *sums in cursor.fetchall():
        counts = dict(zip(_FIELDS, map(int, sums), strict=True))
        state = _state(LedgerCounts(**counts))
        hours.append(LedgerHour(hour=hour, source=source, state=state, **counts))
    return tuple(hours)


def _state(counts: LedgerCounts) -> LedgerState:
    if counts.missing or counts.altered:
        return LedgerState.DIFFERENT
    return LedgerState.WAITING if counts.waiting else LedgerState.BALANCED


def _differences(cursor: Any, parameters: dict[str, Any]) -> list[LedgerDifference]:
    cursor.execute(
        f"SELECT hour, source, producer, block, accepted, archived, {_IS_MISSING}"
        " FROM archive.ledger_blocks"
        " WHERE hour >= %(since)s AND hour < %(until)s"
        " AND (%(source)s::text IS NULL OR source = %(source)s)"
        f" AND (altered > 0 OR (outstanding > 0 AND {_IS_MISSING}))"
        " ORDER BY hour DESC, source, producer, block LIMIT %(limit)s",
        parameters,
    )
    found = [
        difference
        for hour, source, producer, number, accepted, archived, is_missing in cursor.fetchall()
        for difference in _of_block(
            hour,
            source,
            f"{producer}:{number * blocks.SIZE}",
            Block(
                accepted=blocks.unpacked(bytes(accepted)),
                archived=blocks.unpacked(bytes(archived)),
            ),
            first=number * blocks.SIZE,
            is_missing=is_missing,
        )
    ]
    if parameters["source"] is None:
        cursor.execute(
            "SELECT hour, batch_id, analysed, archived, found_at FROM archive.ledger_differences"
            " WHERE hour >= %(since)s AND hour < %(until)s ORDER BY found_at DESC LIMIT %(limit)s",
            parameters,
        )
        found += [
            LedgerDifference(
                kind="batch",
                hour=hour,
                source="",
                batch=bytes(batch_id).hex(),
                events=abs(analysed - archived),
                detail=f"the analysis counted {analysed} events, and the archive {archived}",
                found_at=found_at,
            )
            for hour, batch_id, analysed, archived, found_at in cursor.fetchall()
        ]
    return found


def _of_block(
    hour: dt.datetime, source: str, batch: str, block: Block, *, first: int, is_missing: bool
) -> list[LedgerDifference]:
    found = []
    for kind, text, indices in (
        ("missing", "not archived", block.outstanding() if is_missing else []),
        ("altered", "archived with another number of events", block.altered()),
    ):
        if indices:
            found.append(
                LedgerDifference(
                    kind=kind,
                    hour=hour,
                    source=source,
                    batch=batch,
                    events=sum(block.accepted[index] for index in indices),
                    detail=f"messages {_numbers(indices, first)} are {text}",
                )
            )
    return found


def _numbers(indices: Sequence[int], first: int) -> str:
    parts = list(blocks.ranges(first + index for index in indices))
    return ", ".join(parts[:20]) + (f" and {len(parts) - 20} more" if len(parts) > 20 else "")
