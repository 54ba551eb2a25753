"""Converts rows of the archive to the messages of the API. Pure."""

import base64
import datetime as dt

import msgspec
from msgspec import UNSET, Raw

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api.parameters import HistogramQuery
from auditflow.contract import event
from auditflow.contract.event_search import (
    ArchivedEventDetail,
    ArchivedEventSummary,
    EventHistogram,
    HistogramBucket,
)

_decode_json = msgspec.json.Decoder().decode
_SHARED = tuple(
    name
    for name in ArchivedEventSummary.__struct_fields__
    if name not in ("timestamp", "received_at")
)


def summary(archived: ArchivedEvent) -> ArchivedEventSummary:
    """An event without its record."""
    return ArchivedEventSummary(
        timestamp=_time(archived.occurred_ms),
        received_at=_time(archived.received_ms),
        **{name: getattr(archived, name) for name in _SHARED},
    )


def detail(archived: ArchivedEvent) -> ArchivedEventDetail:
    """A complete event."""
    is_json = _is_json(archived.record)
    return ArchivedEventDetail(
        timestamp=_time(archived.occurred_ms),
        received_at=_time(archived.received_ms),
        record=Raw(archived.record) if is_json else UNSET,
        record_base64=None if is_json else base64.b64encode(archived.record).decode(),
        **{name: getattr(archived, name) for name in _SHARED},
    )


def histogram(criteria: HistogramQuery, counts: dict[int, int]) -> EventHistogram:
    """A histogram with all periods of the time range."""
    first = criteria.filter.since_ms // criteria.interval_ms * criteria.interval_ms
    return EventHistogram(
        interval_seconds=criteria.interval_ms // 1000,
        total=sum(counts.values()),
        buckets=tuple(
            HistogramBucket(_time(start), counts.get(start, 0))
            for start in range(first, criteria.filter.until_ms, criteria.interval_ms)
        ),
    )


def _time(timestamp_ms: int) -> dt.datetime:
    return event.from_epoch_ms(timestamp_ms)


def _is_json(record: bytes) -> bool:
    try:
        _decode_json(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        return False
    return True
