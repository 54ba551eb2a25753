"""The event that reports a refused record. A shipped rule matches it."""

import datetime as dt
from typing import Final

from audit_event_generator.ingest.batch import RefusedRecord
from auditflow.contract import identity
from auditflow.contract.event import Event, LogSource, Severity
from auditflow.contract.pipeline import MAX_REASON

EVENT_TYPE: Final = "record_refused"
LOG_SOURCE: Final = LogSource(product="auditflow", service="ingest", category="application")
#: Maximum length of the excerpt, in characters.
_MAX_EXCERPT: Final = 512


def to_event(refused: RefusedRecord, *, source: str, received: dt.datetime) -> Event:
    """Return the event of a refused record.

    The identifier is the hash of the record's bytes, so that a record that is sent again is the
    same event. ``resource`` is the source. ``details`` has the reason, the location in the request,
    the size, the hash under which the record is in the quarantine, and its first bytes.
    """
    record_id = identity.record_id(refused.record)
    return Event(
        event_id=identity.record_id(f"{EVENT_TYPE} {source} {record_id}".encode()),
        timestamp=received,
        event_type=EVENT_TYPE,
        source_service="audit-event-generator",
        severity=Severity.WARNING,
        action_result="FAILURE",
        resource=source,
        details={
            "reason": _printable(refused.reason, MAX_REASON),
            "where": refused.where,
            "bytes": len(refused.record),
            "record_id": record_id,
            "excerpt": _printable(
                refused.record[:_MAX_EXCERPT].decode("utf-8", "replace"), _MAX_EXCERPT
            ),
        },
        logsource=LOG_SOURCE,
    )


def _printable(text: str, max_length: int) -> str:
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:max_length])
    return shown.encode("utf-8", "replace").decode("utf-8")
