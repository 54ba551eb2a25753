"""Severity and status are shown by a word, a shape and a colour: no one needs to see colours."""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct


class Badge(Struct, frozen=True):
    """``kind`` is the CSS class, ``shape`` the symbol of the macro ``shape``."""

    word: str
    kind: str
    shape: str


SEVERITY: Final = {
    "CRITICAL": Badge("Critical", "critical", "octagon"),
    "WARNING": Badge("Warning", "warning", "triangle"),
    "INFO": Badge("Info", "info", "circle"),
}
STATUS: Final = {
    "open": Badge("Open", "open", "ring"),
    "acknowledged": Badge("Acknowledged", "acknowledged", "half"),
    "resolved": Badge("Resolved", "resolved", "check"),
}


_RANGES: Final = {
    "15m": "15 minutes", "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days",
}  # fmt: skip


def filter_label(name: str, value: str) -> str:
    """Display text of a filter value: ``Critical or Warning``, ``24 hours``."""
    match name:
        case "status":
            return " or ".join(STATUS[item].word for item in value.split(","))
        case "severity":
            return " or ".join(SEVERITY[item].word for item in value.split(","))
        case "range":
            return _RANGES[value]
        case _:
            return value


def web_link(address: str | None) -> str | None:
    """Return the address if it is a safe link target (http or https), otherwise None."""
    if not address or not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return address if parts.scheme in {"http", "https"} and parts.hostname else None
