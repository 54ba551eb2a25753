"""Writes the ledger, in the transaction that commits the batches of the archive."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from psycopg2.extras import execute_values

from audit_analysis.ledger import blocks, sender_store
from audit_analysis.ledger.blocks import Block, BlockKey
from audit_analysis.ledger.outcomes import EventCounts, MessageOutcome
from audit_analysis.ledger.senders import Activity, SenderKey
from auditflow.contract.ledger import HOUR_MS, Receipt

_KEY: Final = "hour, source, producer, block"
_OUTCOME: Final = ", ".join(EventCounts._fields)
_STATE: Final = "accepted, archived, confirmed_ms, repeated"
_COUNTS: Final = "accepted_events, outstanding, altered, unconfirmed"


class DifferentBatch(Struct, frozen=True):
    """A batch of which the analysis counted ``analysed`` events, and the archive ``archived``."""

    batch_id: bytes
    hour: dt.datetime
    analysed: int
    archived: int


class Entries(Struct, frozen=True, kw_only=True):
    """The entries that new batches and receipts add to the ledger.

    ``activity`` are the hosts of the events, and ``silence_ms`` is the minimum time after which a
    host is silent.
    """

    receipts: Sequence[Receipt] = ()
    messages: Sequence[MessageOutcome] = ()
    different: Sequence[DifferentBatch] = ()
    activity: Mapping[SenderKey, Activity] = msgspec.field(default_factory=dict)
    silence_ms: int = 0


def add(cursor: Any, entries: Entries) -> None:
    """Add entries. The caller adds each batch and each receipt once."""
    _add_blocks(cursor, entries)
    _add_direct(cursor, blocks.direct_outcomes(entries.messages))
    archived_until_ms = max(
        (message.received_ms for message in entries.messages if message.label is not None),
        default=None,
    )
    if archived_until_ms is not None:
        cursor.execute(
            "INSERT INTO archive.ledger_progress (archived_until_ms) VALUES (%s)"
            " ON CONFLICT (is_only) DO UPDATE SET archived_until_ms ="
            " greatest(ledger_progress.archived_until_ms, EXCLUDED.archived_until_ms)",
            (archived_until_ms,),
        )
    sender_store.add(cursor, entries.activity, minimum_ms=entries.silence_ms)
    if entries.different:
        execute_values(
            cursor,
            "INSERT INTO archive.ledger_differences (batch_id, hour, analysed, archived) VALUES %s"
            " ON CONFLICT DO NOTHING",
            [
                (item.batch_id, item.hour, item.analysed, item.archived)
                for item in entries.different
            ],
        )


def forget(cursor: Any, *, before: dt.datetime) -> None:
    """Delete the entries of hours that began before a time."""
    cursor.execute("DELETE FROM archive.ledger_blocks WHERE hour < %s", (before,))
    cursor.execute("DELETE FROM archive.ledger_differences WHERE hour < %s", (before,))


def _add_blocks(cursor: Any, entries: Entries) -> None:
    changes = blocks.changes_of(entries.receipts, entries.messages)
    if not changes:
        return
    keys = sorted(changes)  # in one order, so that two processes cannot wait for each other
    known = _lock(cursor, keys)
    rows = []
    for key in keys:
        block = known.get(key, Block()).changed(changes[key])
        rows.append(
            (
                *_key_row(key),
                blocks.packed(block.accepted),
                blocks.packed(block.archived),
                block.confirmed_ms,
                block.repeated,
                *block.outcome,
                *block.counts(),
            )
        )
    names = f"{_KEY}, {_STATE}, {_OUTCOME}, {_COUNTS}"
    assigned = ", ".join(
        f"{name} = EXCLUDED.{name}" for name in f"{_STATE}, {_OUTCOME}, {_COUNTS}".split(", ")
    )
    execute_values(
        cursor,
        f"INSERT INTO archive.ledger_blocks ({names}) VALUES %s"
        f" ON CONFLICT ({_KEY}) DO UPDATE SET {assigned}",
        rows,
    )


def _lock(cursor: Any, keys: Sequence[BlockKey]) -> Mapping[BlockKey, Block]:
    """The blocks that exist. Other transactions wait for this one before they change a block."""
    cursor.execute("LOCK TABLE archive.ledger_blocks IN SHARE ROW EXCLUSIVE MODE")
    found = execute_values(
        cursor,
        f"SELECT {_KEY}, {_STATE}, {_OUTCOME} FROM archive.ledger_blocks"
        f" JOIN (VALUES %s) AS wanted ({_KEY}) USING ({_KEY})",
        [_key_row(key) for key in keys],
        template="(%s::timestamptz, %s, %s, %s::integer)",
        fetch=True,
    )
    known = {}
    for hour, source, producer, block, accepted, archived, confirmed, repeated, *counts in found:
        key = BlockKey(producer, source, int(hour.timestamp()) // 3600, block)
        known[key] = Block(
            accepted=blocks.unpacked(bytes(accepted)),
            archived=blocks.unpacked(bytes(archived)),
            confirmed_ms=confirmed,
            outcome=EventCounts(*counts),
            repeated=repeated,
        )
    return known


def _add_direct(cursor: Any, outcomes: Mapping[int, EventCounts]) -> None:
    if not outcomes:
        return
    names = f"{_KEY}, repeated, {_OUTCOME}, {_COUNTS}"
    added = ", ".join(
        f"{name} = ledger_blocks.{name} + EXCLUDED.{name}"
        for name in f"{_OUTCOME}, accepted_events".split(", ")
    )
    execute_values(
        cursor,
        f"INSERT INTO archive.ledger_blocks ({names}) VALUES %s"
        f" ON CONFLICT ({_KEY}) DO UPDATE SET {added}",
        [
            (hour_time(hour), blocks.DIRECT, "", 0, 0, *outcome, outcome.archived, 0, 0, 0)
            for hour, outcome in sorted(outcomes.items())
        ],
    )


def _key_row(key: BlockKey) -> tuple[dt.datetime, str, str, int]:
    return hour_time(key.hour), key.source, key.producer, key.block


def hour_time(hour: int) -> dt.datetime:
    """The beginning of an hour. ``hour`` is in hours since 1970."""
    return dt.datetime.fromtimestamp(hour * HOUR_MS // 1000, tz=dt.UTC)
