"""The outcome of a message: the number of its events that were analysed or refused. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from audit_analysis.archive.table import ArchivedEvent
from auditflow.contract.ledger import Label


class EventCounts(NamedTuple):
    """Numbers of events. ``late``, ``staged`` and ``clamped`` events are analysed events."""

    analysed: int = 0
    late: int = 0
    staged: int = 0
    clamped: int = 0
    refused: int = 0
    dead_lettered: int = 0

    @property
    def archived(self) -> int:
        """All events."""
        return self.analysed + self.refused + self.dead_lettered

    def plus(self, other: "EventCounts") -> "EventCounts":
        """The sums."""
        return EventCounts(*(own + more for own, more in zip(self, other, strict=True)))

    def times(self, number: int) -> "EventCounts":
        """The sums of ``number`` equal outcomes."""
        return EventCounts(*(own * number for own in self))


class MessageOutcome(NamedTuple):
    """The outcome of a message. ``received_ms`` is the time of its acceptance (ms since 1970).

    ``label`` is None if the message did not come from the ingest.
    """

    label: Label | None
    received_ms: int
    outcome: EventCounts


def outcome_of(rows: Iterable[ArchivedEvent], *, failed: bool = False) -> EventCounts:
    """The outcome of the events of a message. ``failed``: the processing of the message failed."""
    analysed = late = staged = clamped = refused = 0
    for row in rows:
        if row.refused:
            refused += 1
            continue
        analysed += 1
        late += row.late
        staged += row.staged
        clamped += row.clamped
    if failed:
        return EventCounts(analysed, late, staged, clamped, 0, refused)
    return EventCounts(analysed, late, staged, clamped, refused)
