"""Severity and status: a word, a shape and a colour, so that none of the three has to be enough."""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct


class Badge(Struct, frozen=True):
    """``kind`` is the class in the style sheet, ``shape`` the symbol in ``_shapes.html``."""

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


def spoken(name: str, value: str) -> str:
    """The value of a filter, as people say it: ``Critical or Warning``, ``24 hours``."""
    match name:
        case "status":
            return " or ".join(STATUS[one].word for one in value.split(","))
        case "severity":
            return " or ".join(SEVERITY[one].word for one in value.split(","))
        case "range":
            return _RANGES[value]
        case _:
            return value


def web_link(address: str | None) -> str | None:
    """An address that may become a link: http and https only, never a script."""
    if not address or not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return address if parts.scheme in {"http", "https"} and parts.hostname else None
