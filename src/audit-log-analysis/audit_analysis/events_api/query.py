"""A search: a time range, conditions, an order and a page. Pure.

A condition has a field, a modifier and a value, as in Sigma: ``user|startswith=adm``. A field is a
column of the archive, or a path in the event's JSON after ``record.``: ``record.details.port``.
Without a modifier the complete value must be equal, with its letter case. The modifiers
``contains``, ``startswith`` and ``endswith`` ignore the letter case, as Sigma does.
"""

import datetime as dt
import ipaddress
from enum import StrEnum
from typing import Final

from msgspec import Struct

#: The columns that a condition can test. All have text.
FIELDS: Final = (
    "event_id", "source", "event_type", "severity", "action_result", "source_service", "host",
    "user", "address", "resource", "product", "service", "category", "correlation_id", "reason",
)  # fmt: skip
#: The prefix of a path in the event's JSON.
RECORD_PREFIX: Final = "record."
#: Maximum length of a value, and of a path in the event's JSON (characters).
MAX_VALUE: Final = 1_000
MAX_PATH: Final = 200
#: Maximum number of names in a path.
MAX_PATH_DEPTH: Final = 16
#: Maximum number of conditions of a search.
MAX_CONDITIONS: Final = 20


class Modifier(StrEnum):
    """The comparison of a value of an event with the value of a condition."""

    EQUALS = "equals"
    CONTAINS = "contains"
    STARTSWITH = "startswith"
    ENDSWITH = "endswith"
    CIDR = "cidr"


class Order(StrEnum):
    """The order of events by time."""

    NEWEST = "newest"
    OLDEST = "oldest"


class Condition(Struct, frozen=True):
    """A condition on one field. ``negated``: the condition must not be fulfilled."""

    field: str
    value: str
    modifier: Modifier = Modifier.EQUALS
    negated: bool = False


class Position(Struct, frozen=True, array_like=True):
    """The time and the id of an event. A page starts after it."""

    order: Order
    occurred_ms: int
    event_id: str


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events. Times are in milliseconds since 1970; ``until_ms`` is not included.

    ``text`` is searched in the complete record, without regard to the letter case. ``refused`` and
    ``late`` select events with this flag, if they are given. ``event_ids`` selects the events with
    these identifiers, if it is not empty.
    """

    since_ms: int
    until_ms: int
    conditions: tuple[Condition, ...] = ()
    text: str | None = None
    refused: bool | None = None
    late: bool | None = None
    event_ids: tuple[str, ...] = ()


class EventQuery(Struct, frozen=True, kw_only=True):
    """Which events, in which order, and which page of them."""

    filter: EventFilter
    order: Order = Order.NEWEST
    limit: int = 100
    after: Position | None = None


class InvalidCondition(ValueError):
    """A condition that cannot be tested. The text says why."""


def parse_condition(text: str) -> Condition:
    """Read a condition such as ``user|startswith=adm`` or ``!address|cidr=10.0.0.0/8``.

    Raises:
        InvalidCondition: it has no ``=``, or its field, modifier or value is invalid.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidCondition("must be FIELD=VALUE or FIELD|MODIFIER=VALUE")
    negated = name.startswith("!")
    field, bar, modifier = name.removeprefix("!").partition("|")
    if bar and modifier not in list(Modifier):
        raise InvalidCondition(f"the modifier must be one of {', '.join(Modifier)}")
    condition = Condition(field, value, Modifier(modifier) if bar else Modifier.EQUALS, negated)
    check(condition)
    return condition


def check(condition: Condition) -> None:
    """Check a condition.

    Raises:
        InvalidCondition: its field or its value is invalid.
    """
    field, value = condition.field, condition.value
    if field not in FIELDS:
        path = record_path(field)
        if path is None:
            raise InvalidCondition(
                f"the field must be one of {', '.join(FIELDS)}, or {RECORD_PREFIX}PATH"
            )
    if not 1 <= len(value) <= MAX_VALUE or "\0" in value:
        raise InvalidCondition(f"the value must have 1 to {MAX_VALUE} characters, without NUL")
    if condition.modifier is Modifier.CIDR:
        network(value)


def record_path(field: str) -> tuple[str, ...] | None:
    """The names of a path in the event's JSON; None if the field is no valid path."""
    if not field.startswith(RECORD_PREFIX) or len(field) > MAX_PATH or "\0" in field:
        return None
    names = tuple(field.removeprefix(RECORD_PREFIX).split("."))
    # DuckDB's paths have no escape for a quotation mark in a name.
    if not all(names) or len(names) > MAX_PATH_DEPTH or '"' in field or "\\" in field:
        return None
    return names


def network(value: str) -> ipaddress.IPv4Network:
    """The network of a condition with the modifier ``cidr``.

    Raises:
        InvalidCondition: it is no IPv4 network.
    """
    try:
        return ipaddress.IPv4Network(value, strict=False)
    except ValueError:
        raise InvalidCondition("the value must be an IPv4 network such as 10.0.0.0/8") from None


def to_ms(timestamp: dt.datetime) -> int:
    """Milliseconds since 1970."""
    return (timestamp - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
