"""Level and status are shown by a word, a shape and a colour: no one needs to see colours."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from event_audit_dashboard.localization.translation import N_, Texts, gettext


class Badge(Struct, frozen=True):
    """``kind`` is the CSS class, ``shape`` the id of the symbol in ``_symbols.html``."""

    text: str
    kind: str
    shape: str

    @property
    def word(self) -> str:
        """The text in the current language."""
        return gettext(self.text)


LEVEL: Final = {
    "critical": Badge(N_("Critical"), "critical", "octagon"),
    "high": Badge(N_("High"), "high", "triangle"),
    "medium": Badge(N_("Medium"), "medium", "diamond"),
    "low": Badge(N_("Low"), "low", "circle"),
    "informational": Badge(N_("Info"), "informational", "dot"),
}
STATUS: Final = {
    "open": Badge(N_("Open"), "open", "ring"),
    "acknowledged": Badge(N_("Acknowledged"), "acknowledged", "half"),
    "resolved": Badge(N_("Resolved"), "resolved", "check"),
}
VERDICT: Final = Texts(
    {
        "true_positive": N_("True positive"),
        "false_positive": N_("False positive"),
        "benign": N_("Benign"),
        "duplicate_of": N_("Duplicate"),
    }
)
RANGE: Final = Texts(
    {
        "15m": N_("15 minutes"),
        "1h": N_("1 hour"),
        "24h": N_("24 hours"),
        "7d": N_("7 days"),
        "30d": N_("30 days"),
    }
)
SORT: Final = Texts(
    {
        "activity": N_("Last activity"),
        "opened": N_("Newest first"),
        "severity": N_("Level"),
        "count": N_("Number of events"),
        "risk": N_("Risk"),
    }
)
FILTER: Final = Texts(
    {
        "q": N_("Text"),
        "status": N_("Status"),
        "level": N_("Level"),
        "severity": N_("Severity"),
        "verdict": N_("Verdict"),
        "assignee": N_("Assignee"),
        "actor": N_("User"),
        "host": N_("Host"),
        "ip": N_("Address"),
        "resource": N_("Resource"),
        "rule": N_("Rule"),
        "technique": N_("Technique"),
        "environment": N_("Environment"),
        "active_again": N_("Active again"),
        "snoozed": N_("Snoozed"),
        "range": N_("Active within"),
        "since": N_("Active since"),
        "until": N_("Active until"),
        "sort": N_("Order"),
    }
)
_SEVERITY: Final = Texts(
    {
        "CRITICAL": N_("Critical"),
        "WARNING": N_("Warning"),
        "INFO": N_("Info"),
    }
)
_FLAG: Final = Texts({"true": N_("yes"), "false": N_("no")})


ROLE: Final = Texts(
    {
        "viewer": N_("viewer"),
        "analyst": N_("analyst"),
        "lead": N_("lead"),
        "admin": N_("admin"),
    }
)
SILENCE: Final = Texts(
    {
        "pending": N_("Planned"),
        "active": N_("Active"),
        "ended": N_("Ended"),
    }
)
#: States of a delivery.
DELIVERY: Final = Texts(
    {
        "pending": N_("Waiting"),
        "sending": N_("Being sent"),
        "sent": N_("Sent"),
        "dead": N_("Failed"),
        "merged": N_("Part of a digest"),
    }
)
#: Types of rules.
KIND: Final = Texts(
    {
        "single event": N_("single event"),
        "event_count": N_("number of events"),
        "value_count": N_("number of values"),
        "temporal": N_("events in any order"),
        "temporal_ordered": N_("events in this order"),
    }
)


def filter_label(name: str, value: str) -> str:
    """Display text of a filter value: ``Critical or High``, ``24 hours``."""
    labels: Mapping[str, str]
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
    return gettext(" or ").join(labels.get(item, item) for item in value.split(","))


def web_link(address: str | None) -> str | None:
    """Return the address if it is a safe link target (http or https), otherwise None."""
    if not address or not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return address if parts.scheme in {"http", "https"} and parts.hostname else None
