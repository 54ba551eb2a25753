"""The kinds of logs that can be read here, by name.

A package adds its own by an entry point in the group ``auditflow.sources``: a mapping of names to
functions. A function converts a log's bytes to events, and yields a ``Fault`` for each record that
cannot become an event. Services do not import each other; this is how the adapters of
audit-event-generator are found where that package is installed.
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
    """Return every source by name."""
    sources: dict[str, Source] = {NATIVE: native}
    for entry_point in entry_points(group=GROUP):
        sources.update(entry_point.load())
    return dict(sorted(sources.items()))


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
