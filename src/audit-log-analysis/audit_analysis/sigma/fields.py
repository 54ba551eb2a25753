"""Reads the fields of an event that rules refer to.

If an event has its source's ``record``, the fields of the record come first, by dotted names as in
public rules. Then come the event's own fields, and then the fields of ``details``.
``TargetFilename`` is Sigma's name for the path of a file.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from audit_analysis.sigma import paths
from audit_analysis.sigma.verdict_cache import Key
from auditflow.contract.event import Event

#: A value that a rule can test.
Scalar = str | int | float | bool | None
#: The values of a field: empty if the event has no such field, several if it is a list.
Values = tuple[Scalar, ...]

_decode = msgspec.json.Decoder().decode

_NATIVE: Final[dict[str, Callable[[Event], Scalar]]] = {
    "event_id": lambda event: event.event_id,
    "timestamp": lambda event: event.timestamp.isoformat(),
    "event_type": lambda event: event.event_type,
    "source_service": lambda event: event.source_service,
    "server_hostname": lambda event: event.server_hostname,
    "severity": lambda event: event.severity.value,
    "user_id": lambda event: event.user_id,
    "action_result": lambda event: event.action_result,
    "client_ip": lambda event: event.address,
    "resource": lambda event: event.object,
}


#: The fields that are an attribute of every event with text or None.
_PLAIN: Final = frozenset(
    {"event_id", "event_type", "source_service", "server_hostname", "user_id", "action_result"}
)


class View:
    """An event with cached lookups of its fields."""

    __slots__ = ("_cache", "_lower", "_record", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._record: Any = UNSET
        self._cache: dict[str, Values] = {}
        self._lower: dict[str, tuple[str, ...]] = {}

    def values(self, field: str) -> Values:
        """The values of a field; empty if the event does not have it."""
        known = self._cache.get(field)
        if known is None:
            known = self._cache[field] = self._find(field)
        return known

    def key(self, field: str) -> Key:
        """A cache key for the values of a field: equal keys mean equal values."""
        values = self.values(field)
        for value in values:
            if value.__class__ is not str and value is not None:
                # Python treats 1, 1.0 and true as equal; rules do not.
                return tuple([(each.__class__, repr(each)) for each in values])
        return values

    def lowered(self, field: str) -> tuple[str, ...]:
        """The values of a field as text in lower case, because Sigma's strings ignore case."""
        known = self._lower.get(field)
        if known is None:
            values = self.values(field)
            if len(values) == 1 and isinstance(values[0], str):  # The most frequent case.
                known = (values[0].lower(),)
            else:
                texts = [text(value) for value in values]
                known = tuple(found.lower() for found in texts if found is not None)
            self._lower[field] = known
        return known

    def has(self, field: str) -> bool:
        """Whether the event has a field, even if the field is null, an empty list or an object."""
        if self.values(field):
            return True
        return _has(self._fields(), field) or _has(
            self.event.details, field.removeprefix("details.")
        )

    def everything(self) -> Iterator[str]:
        """All texts of the event in lower case, which Sigma's keywords search."""
        for value in _leaves(msgspec.to_builtins(self.event, builtin_types=(Raw,))):
            if (found := text(value)) is not None:
                yield found.lower()
        for value in _leaves(self._fields()):
            if (found := text(value)) is not None:
                yield found.lower()

    def _find(self, field: str) -> Values:
        event = self.event
        if event.record is not UNSET:
            record = self._fields()
            value = record.get(field) if record.__class__ is dict else None
            if value.__class__ is str:  # The most frequent case.
                return (value,)
            if found := tuple(_dig(record, field)):
                return found
        native = _NATIVE.get(field)
        if native is not None:
            own = native(event)
            return () if own is None else (own,)
        if field == "TargetFilename":
            return paths.of_event(event)
        details = event.details
        if not details:
            return ()
        name = field.removeprefix("details.")
        detail = details.get(name, UNSET)
        if detail.__class__ is str:
            return (detail,)
        return () if detail is UNSET and "." not in name else tuple(_dig(details, name))

    def _fields(self) -> Any:
        if self._record is UNSET:
            raw = self.event.record
            self._record = _decode(raw) if isinstance(raw, Raw) else None
        return self._record


def plain(fields: Sequence[str]) -> Callable[[Event], Any] | None:
    """A fast reader of some fields of events without a record; None if a field is not plain.

    The reader returns a text or None for one field, and a tuple of these for several fields.
    """
    return attrgetter(*fields) if fields and _PLAIN.issuperset(fields) else None


def text(value: object) -> str | None:
    """The text that Sigma compares with a string; None for null, objects and lists."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return None


def _dig(node: Any, field: str) -> Iterator[Scalar]:
    """The values under a dotted name. Lists are searched, and keys may contain dots."""
    if isinstance(node, list):
        for element in node:
            yield from _dig(element, field)
    elif isinstance(node, dict):
        if field in node:
            yield from _scalars(node[field])
            return
        head, dot, rest = field.partition(".")
        while dot:
            if head in node:
                yield from _dig(node[head], rest)
            more, dot, rest = rest.partition(".")
            head = f"{head}.{more}"


def _has(node: Any, field: str) -> bool:
    """Whether a dotted name exists; the search is that of ``_dig``."""
    if isinstance(node, list):
        return any(_has(element, field) for element in node)
    if not isinstance(node, dict):
        return False
    if field in node:
        return True
    head, dot, rest = field.partition(".")
    while dot:
        if head in node and _has(node[head], rest):
            return True
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return False


def _scalars(node: Any) -> Iterator[Scalar]:
    if isinstance(node, list):
        for element in node:
            yield from _scalars(element)
    elif not isinstance(node, dict):
        yield node


def _leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _leaves(value)
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value)
    else:
        yield node
