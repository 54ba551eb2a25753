"""The kinds of logs that can be read here, by name.

A package adds its own by an entry point in the group ``auditflow.sources``: a function of a log's
bytes that gives its events, and a ``Fault`` for each record that is none. Services never import
each other; the adapters of audit-event-generator are found this way where it is installed too.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Final

from auditflow.contract import event
from auditflow.contract.event import Event, Received
from auditflow.http.problem import Fault

GROUP: Final = "auditflow.sources"
#: The events of AuditFlow itself, one a line.
NATIVE: Final = "ndjson"

#: Reads a log. Raises auditflow.errors.ContractError for bytes that are no such log at all.
Source = Callable[[bytes], Iterator[Event | Fault]]


@cache
def installed() -> Mapping[str, Source]:
    """Every source, by name."""
    found = {one.name: one.load() for one in entry_points(group=GROUP)}
    return dict(sorted({NATIVE: native, **found}.items()))


def guess(body: bytes) -> list[str]:
    """The names of the sources that know a log as theirs. One is an answer."""
    return [name for name, source in installed().items() if _knows(source, body)]


def native(body: bytes) -> Iterator[Event | Fault]:
    """Events by the contract, one (or an array of them) a line, as they stand in the queue."""
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        for one in event.decode_message(line.strip()):
            if isinstance(one, Received):
                yield one.event
            else:
                yield Fault(f"line {number}", one.reason)


def _knows(source: Source, body: bytes) -> bool:
    recognises = getattr(source, "recognises", None)
    if recognises is not None:
        return bool(recognises(body))
    return isinstance(next(source(body), None), Event)
