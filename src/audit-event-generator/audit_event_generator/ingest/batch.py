"""Convert the records of a request. An invalid record does not affect the others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from audit_event_generator.ingest import limits
from audit_event_generator.ingest.encoding import EncodedEvent, encode
from auditflow.contract.event import Event
from auditflow.errors import ContractError
from auditflow.http.problem import Fault
from auditflow.telemetry import logs

#: Maximum number of faults in a response. All further faults are only counted.
MAX_FAULTS: Final = 100
#: Maximum number of records in a request. With the limit on bytes it keeps a response under 1 s.
MAX_RECORDS: Final = 20_000

#: Converts one record to an event. Raises ContractError.
Adapter = Callable[[bytes], Event]

log = logs.get(__name__)


class TooManyRecords(ContractError):
    """A request contains more than ``MAX_RECORDS`` records."""


class RefusedRecord(Struct, frozen=True):
    """A record that cannot become an event."""

    where: str
    reason: str
    record: bytes


@dataclass
class Batch:
    """The converted records of a request."""

    events: list[EncodedEvent] = field(default_factory=list)
    refused: list[RefusedRecord] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of records."""
        return len(self.events) + len(self.refused)

    @property
    def faults(self) -> list[Fault]:
        """The first faults, for the response."""
        return [Fault(item.where, item.reason) for item in self.refused[:MAX_FAULTS]]


def convert(records: Iterable[tuple[str, bytes]], to_event: Adapter) -> Batch:
    """Convert each record. ``records`` yields the location and the bytes of each record.

    Raises:
        TooManyRecords: there are more than ``MAX_RECORDS``. No record is accepted.
    """
    batch = Batch()
    for where, record in records:
        if batch.total == MAX_RECORDS:
            raise TooManyRecords(f"more than {MAX_RECORDS} records: send them in several requests")
        try:
            batch.events.append(convert_record(record, to_event))
        except ContractError as error:
            batch.refused.append(RefusedRecord(where, str(error), record))
        except Exception:
            # A defect of an adapter must not stop the other records.
            log.exception("an adapter failed", where=where)
            reason = "the service failed to convert this record; its log has the reason"
            batch.refused.append(RefusedRecord(where, reason, record))
    return batch


def convert_record(record: bytes, to_event: Adapter) -> EncodedEvent:
    """Convert one record. An event that exceeds a limit is shortened and marked (see ``limits``).

    Raises:
        ContractError: the record cannot become an event.
    """
    try:
        event = to_event(record)
    except ContractError:
        repaired = limits.repair(record)
        if repaired is None or repaired == record:
            raise
        event = limits.mark(to_event(repaired), "record")
    try:
        return encode(event)
    except ContractError:
        return encode(limits.shorten(event, record))
