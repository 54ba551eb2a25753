"""The log formats that can be read, by name.

A package adds formats by an entry point in the group ``auditflow.sources``: a mapping of names to
functions. A function takes the bytes of a log and yields its events, and a ``Fault`` for each
record that cannot be read. Services never import each other; the adapters of audit-event-generator
are available if that package is installed.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Final

from auditflow.contract import event
from auditflow.contract.event import Event, Received
from auditflow.http.problem import Fault

GROUP: Final = "auditflow.sources"
#: AuditFlow's own events, one on each line.
NATIVE: Final = "ndjson"

#: Reads a log. Raises auditflow.errors.ContractError if the bytes are not of this format.
Source = Callable[[bytes], Iterator[Event | Fault]]


@cache
def installed() -> Mapping[str, Source]:
    """All sources by name."""
    sources: dict[str, Source] = {NATIVE: native}
    for entry_point in entry_points(group=GROUP):
        sources.update(entry_point.load())
    return dict(sorted(sources.items()))


def guess(body: bytes) -> list[str]:
    """The names of the sources that recognise a log."""
    return [name for name, source in installed().items() if _recognises(source, body)]


def native(body: bytes) -> Iterator[Event | Fault]:
    """AuditFlow's own format: an event or an array of events on each line, as in messages."""
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        for decoded in event.decode_message(line.strip()):
            if isinstance(decoded, Received):
                yield decoded.event
            else:
                yield Fault(f"line {number}", decoded.reason)


def _recognises(source: Source, body: bytes) -> bool:
    recognises = getattr(source, "recognises", None)
    if recognises is not None:
        return bool(recognises(body))
    return isinstance(next(source(body), None), Event)
