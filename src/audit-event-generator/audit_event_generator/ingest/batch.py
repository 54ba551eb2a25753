"""Convert the records of a request. An invalid record does not affect the others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from audit_event_generator.ingest.encoding import EncodedEvent, encode
from auditflow.contract.event import Event
from auditflow.errors import ContractError
from auditflow.http.problem import Fault

#: Maximum number of faults in a response. All further faults are only counted.
MAX_FAULTS: Final = 100
#: Maximum number of records in a request. With the limit on bytes it keeps a response under 1 s.
MAX_RECORDS: Final = 20_000

#: Converts one record to an event. Raises ContractError.
Adapter = Callable[[bytes], Event]


class TooManyRecords(ContractError):
    """A request contains more than ``MAX_RECORDS`` records."""


@dataclass
class Batch:
    """The converted records of a request."""

    events: list[EncodedEvent] = field(default_factory=list)
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of records."""
        return len(self.events) + self.refused

    def refuse(self, where: str, what: str) -> None:
        """Count a record that cannot become an event."""
        self.refused += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(where, what))


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
            batch.events.append(encode(to_event(record)))
        except ContractError as error:
            batch.refuse(where, str(error))
    return batch
