"""The orders of the alert list. Each order is total: it ends with the identifier of the alert."""

from enum import StrEnum
from typing import Final

from msgspec import Struct


class Sort(StrEnum):
    """The values of the parameter ``sort``. All orders are descending."""

    ACTIVITY = "activity"
    OPENED = "opened"
    SEVERITY = "severity"
    COUNT = "count"
    RISK = "risk"


class Key(Struct, frozen=True):
    """A sort key: a column and its PostgreSQL type."""

    column: str
    type: str


#: The sort keys of each order, before the identifier of the alert.
KEYS: Final[dict[Sort, tuple[Key, ...]]] = {
    Sort.ACTIVITY: (Key("last_seen", "timestamptz"),),
    Sort.OPENED: (Key("opened_at", "timestamptz"),),
    Sort.SEVERITY: (Key("level_rank", "smallint"), Key("last_seen", "timestamptz")),
    Sort.COUNT: (Key("count", "bigint"),),
    Sort.RISK: (
        Key("risk", "integer"),
        Key("risk_kind", "text"),
        Key("risk_value", "text"),
        Key("last_seen", "timestamptz"),
    ),
}
