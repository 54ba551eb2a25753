"""What a field of a rule is in an event.

An event that carries its source's ``record`` has that record's fields, by dotted names, as public
rules for the source write them; besides, every event has its own fields by their own names, and
those of ``details`` by theirs. ``TargetFilename`` is Sigma's name for the path of a file.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from audit_analysis.sigma import paths
from audit_analysis.sigma.verdict_cache import Key
from auditflow.contract.event import Event

#: A value that a rule can be about.
Scalar = str | int | float | bool | None
#: The values of a field: none when the event has no such field, several when it is a list.
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


#: The fields that are nothing but an attribute of every event, which is text or None.
_PLAIN: Final = frozenset(
    {"event_id", "event_type", "source_service", "server_hostname", "user_id", "action_result"}
)


class View:
    """An event as rules see it. Each field is looked up once, however many rules ask."""

    __slots__ = ("_cache", "_lower", "_record", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._record: Any = UNSET
        self._cache: dict[str, Values] = {}
        self._lower: dict[str, tuple[str, ...]] = {}

    def values(self, field: str) -> Values:
        """The values of a field; empty when the event does not have it."""
        known = self._cache.get(field)
        if known is None:
            known = self._cache[field] = self._find(field)
        return known

    def key(self, field: str) -> Key:
        """What tells the values of a field from others: equal keys are the same values."""
        values = self.values(field)
        for one in values:
            if one.__class__ is not str and one is not None:
                # 1, 1.0 and true are equal to Python, and not to rules.
                return tuple([(one.__class__, repr(one)) for one in values])
        return values

    def lowered(self, field: str) -> tuple[str, ...]:
        """The values of a field as text in lower case, since Sigma's strings ignore case."""
        known = self._lower.get(field)
        if known is None:
            values = self.values(field)
            if len(values) == 1 and isinstance(values[0], str):  # as nearly all are
                known = (values[0].lower(),)
            else:
                texts = [text(value) for value in values]
                known = tuple(one.lower() for one in texts if one is not None)
            self._lower[field] = known
        return known

    def has(self, field: str) -> bool:
        """Whether the event has a field, whatever it holds: nothing, an empty list, an object."""
        if self.values(field):
            return True
        return _has(self._fields(), field) or _has(
            self.event.details, field.removeprefix("details.")
        )

    def everything(self) -> Iterator[str]:
        """All texts in the event, in lower case: what Sigma's keywords search."""
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
            one = record.get(field) if record.__class__ is dict else None
            if one.__class__ is str:  # as nearly all are
                return (one,)
            if found := tuple(_dig(record, field)):
                return found
        native = _NATIVE.get(field)
        if native is not None:
            value = native(event)
            return () if value is None else (value,)
        if field == "TargetFilename":
            return paths.of_event(event)
        details = event.details
        if not details:
            return ()
        name = field.removeprefix("details.")
        one = details.get(name, UNSET)
        if one.__class__ is str:
            return (one,)
        return () if one is UNSET and "." not in name else tuple(_dig(details, name))

    def _fields(self) -> Any:
        if self._record is UNSET:
            raw = self.event.record
            self._record = _decode(raw) if isinstance(raw, Raw) else None
        return self._record


def plain(fields: Sequence[str]) -> Callable[[Event], Any] | None:
    """The quickest way to some fields of events without a record; None when there is none.

    It gives what ``View.values`` would, bare: a text or None, of several fields a tuple of them.
    """
    return attrgetter(*fields) if fields and _PLAIN.issuperset(fields) else None


def text(value: object) -> str | None:
    """A value as Sigma compares it with a string: numbers as they are written, truth as a word."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return None


def _dig(node: Any, field: str) -> Iterator[Scalar]:
    """The values under a dotted name, through lists, also where a key itself has dots."""
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
    """Whether there is something under a dotted name, found as ``_dig`` finds it."""
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
