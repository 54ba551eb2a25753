"""A batch of records of which each stands for itself: what fits is taken, the rest is named."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from audit_event_generator.ingest.sealing import Sealed, seal
from auditflow.contract.event import Event
from auditflow.errors import ContractError
from auditflow.http.problem import Fault

#: Faults that an answer names; the rest is only counted.
MAX_FAULTS: Final = 100
#: Records of one request. With the bound on its bytes it keeps an answer under a second.
MAX_RECORDS: Final = 20_000

#: Turns one record into an event, or raises ContractError.
Adapter = Callable[[bytes], Event]


class TooMany(ContractError):
    """A request holds more records than are taken at once."""


@dataclass
class Batch:
    """What became of a request's records."""

    sealed: list[Sealed] = field(default_factory=list)
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.sealed) + self.refused

    def refuse(self, where: str, what: str) -> None:
        self.refused += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(where, what))


def take(records: Iterable[tuple[str, bytes]], adapt: Adapter) -> Batch:
    """Adapt and seal each record. ``records`` yields where a record stands, and its bytes.

    Raises:
        TooMany: more than ``MAX_RECORDS``; nothing is taken then.
    """
    batch = Batch()
    for where, record in records:
        if batch.total == MAX_RECORDS:
            raise TooMany(f"more than {MAX_RECORDS} records: send them in smaller parts")
        try:
            batch.sealed.append(seal(adapt(record)))
        except ContractError as error:
            batch.refuse(where, str(error))
    return batch
