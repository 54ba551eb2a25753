"""Level and status are shown by a word, a shape and a colour: no one needs to see colours."""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct


class Badge(Struct, frozen=True):
    """``kind`` is the CSS class, ``shape`` the id of the symbol in ``_symbols.html``."""

    word: str
    kind: str
    shape: str


LEVEL: Final = {
    "critical": Badge("Critical", "critical", "octagon"),
    "high": Badge("High", "high", "triangle"),
    "medium": Badge("Medium", "medium", "diamond"),
    "low": Badge("Low", "low", "circle"),
    "informational": Badge("Info", "informational", "dot"),
}
STATUS: Final = {
    "open": Badge("Open", "open", "ring"),
    "acknowledged": Badge("Acknowledged", "acknowledged", "half"),
    "resolved": Badge("Resolved", "resolved", "check"),
}
VERDICT: Final = {
    "true_positive": "True positive",
    "false_positive": "False positive",
    "benign": "Benign",
    "duplicate_of": "Duplicate",
}
RANGE: Final = {
    "15m": "15 minutes", "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days",
}  # fmt: skip
SORT: Final = {
    "activity": "Last activity",
    "opened": "Newest first",
    "severity": "Level",
    "count": "Number of events",
    "risk": "Risk",
}
FILTER: Final = {
    "q": "Text", "status": "Status", "level": "Level", "severity": "Severity", "verdict": "Verdict",
    "assignee": "Assignee", "actor": "User", "host": "Host", "ip": "Address",
    "resource": "Resource", "rule": "Rule", "technique": "Technique", "environment": "Environment",
    "active_again": "Active again", "snoozed": "Snoozed", "range": "Active within",
    "since": "Active since", "until": "Active until", "sort": "Order",
}  # fmt: skip
_SEVERITY: Final = {"CRITICAL": "Critical", "WARNING": "Warning", "INFO": "Info"}
_FLAG: Final = {"true": "yes", "false": "no"}


def filter_label(name: str, value: str) -> str:
    """Display text of a filter value: ``Critical or High``, ``24 hours``."""
    labels: dict[str, str]
    match name:
        case "status":
            labels = {key: badge.word for key, badge in STATUS.items()}
        case "level":
            labels = {key: badge.word for key, badge in LEVEL.items()}
        case "severity":
            labels = _SEVERITY
        case "verdict":
            labels = VERDICT
        case "range":
            labels = RANGE
        case "active_again" | "snoozed":
            labels = _FLAG
        case _:
            return value
    return " or ".join(labels.get(item, item) for item in value.split(","))


def web_link(address: str | None) -> str | None:
    """Return the address if it is a safe link target (http or https), otherwise None."""
    if not address or not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return address if parts.scheme in {"http", "https"} and parts.hostname else None
