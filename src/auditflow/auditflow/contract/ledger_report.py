"""The messages of the API of the ledger (``/api/v1/ledger``)."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from auditflow.contract.event import Timestamp


def _doc(description: str) -> Meta:
    return Meta(description=description)


class LedgerState(StrEnum):
    """The state of an hour and a source.

    ``balanced``: all accepted events are archived. ``waiting``: some are not archived yet, and no
    later event is. ``different``: events are missing or altered.
    """

    BALANCED = "balanced"
    WAITING = "waiting"
    DIFFERENT = "different"


class LedgerCounts(Struct, frozen=True, kw_only=True):
    """Numbers of events.

    accepted = archived + waiting + missing, and archived = analysed + refused + dead_lettered.
    """

    accepted: Annotated[int, _doc("Events that the broker stored for the ingest.")] = 0
    archived: Annotated[int, _doc("Events in files of the archive. Each one is counted once.")] = 0
    analysed: Annotated[int, _doc("Archived events that the rules have seen.")] = 0
    late: Annotated[int, _doc("Analysed events that were too late for a window.")] = 0
    staged: Annotated[int, _doc("Analysed events that a staged rule matched.")] = 0
    refused: Annotated[int, _doc("Archived records that violate the contract.")] = 0
    dead_lettered: Annotated[int, _doc("Archived events whose processing failed.")] = 0
    waiting: Annotated[int, _doc("Accepted events that are not archived yet.")] = 0
    missing: Annotated[
        int, _doc("Accepted events that are not archived, although later events are.")
    ] = 0
    altered: Annotated[
        int, _doc("Events of messages whose number of events differs from the accepted number.")
    ] = 0
    unconfirmed: Annotated[
        int,
        _doc(
            "Archived events without a receipt of the ingest. Included in accepted. Receipts are "
            "sent every few seconds; an ingest that was killed sends none."
        ),
    ] = 0
    repeated: Annotated[
        int, _doc("Events that were delivered and archived again. Not included in archived.")
    ] = 0


class LedgerHour(LedgerCounts, frozen=True, kw_only=True):
    """The numbers of an hour of acceptance and a source of the ingest.

    The source ``direct`` is for messages that did not come from the ingest: their acceptance is
    not counted, so accepted equals archived.
    """

    hour: Annotated[Timestamp, _doc("The beginning of the hour.")]
    source: str
    state: LedgerState


class LedgerDifference(Struct, frozen=True, kw_only=True):
    """A difference, with the batch in which it was found.

    ``kind``: ``missing`` (accepted, not archived), ``altered`` (another number of events),
    ``batch`` (the analysis and the archive count another number of events in a batch) or ``files``
    (the files have another number of events than the archive wrote).

    ``batch`` is a batch id, or the producer and the first message number of a group of messages.
    """

    kind: str
    hour: Timestamp
    source: str
    batch: str
    events: int
    detail: str
    found_at: Timestamp | None = None


class LedgerReport(Struct, frozen=True, kw_only=True):
    """The ledger of a time range. ``hours`` has the newest hour first."""

    since: Timestamp
    until: Timestamp
    state: LedgerState
    archived_until: Annotated[
        Timestamp | None, _doc("The acceptance of the newest archived event of the ingest.")
    ]
    total: LedgerCounts
    hours: tuple[LedgerHour, ...]
    differences: tuple[LedgerDifference, ...]
    differences_truncated: Annotated[
        bool, _doc("Whether there are more differences than the report shows.")
    ] = False


class LedgerSender(Struct, frozen=True, kw_only=True):
    """A host that sends events of a log source."""

    source: str
    host: str
    last_seen: Timestamp
    silent_seconds: int
    usual_seconds: Annotated[
        int, _doc("The longest time without events that is usual for this host.")
    ]
    silent: Annotated[bool, _doc("Whether the host is silent for longer than usual.")]


class LedgerSenders(Struct, frozen=True):
    """The hosts that send events: silent ones first, then by the time of their last event."""

    senders: tuple[LedgerSender, ...]
