"""The events behind a finding, within what one page can carry."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import UNSET, MsgspecError, Raw, Struct, UnsetType

from event_audit_dashboard.alerts import EventRef, Finding
from event_audit_dashboard.presentation import text

#: Characters of whole events on one page.
PAGE_BUDGET: Final = 600_000
#: Characters of one event.
EVENT_BUDGET: Final = 60_000


class Whole(Struct, frozen=True):
    """An event as its source sent it. ``left_out`` counts the characters that are not shown."""

    heading: str
    json: str
    left_out: int = 0


class Shown(Struct, frozen=True):
    """A finding with the events to show."""

    finding: Finding
    wholes: tuple[Whole, ...]
    events: tuple[EventRef, ...]
    #: Events of the finding that it does not name.
    unnamed: int


def of(findings: Sequence[Finding]) -> list[Shown]:
    """Everything in order; once the page is full, whole events give way to a note."""
    budget = PAGE_BUDGET
    shown = []
    for finding in findings:
        wholes = []
        for heading, raw in _raws(finding):
            pretty = _pretty(raw)
            kept = pretty[: min(EVENT_BUDGET, max(0, budget))]
            budget -= len(kept)
            wholes.append(Whole(heading, kept, len(pretty) - len(kept)))
        events = finding.evidence.events
        shown.append(Shown(finding, tuple(wholes), events, max(0, finding.count - len(events))))
    return shown


def _raws(finding: Finding) -> Iterator[tuple[str, bytes]]:
    first, last = (
        _bytes(one) for one in (finding.evidence.first_event, finding.evidence.last_event)
    )
    if first and first == last:
        yield "The event", first
        return
    if first:
        yield "First event", first
    if last:
        yield "Last event", last


def _bytes(raw: Raw | UnsetType) -> bytes | None:
    return None if raw is UNSET or bytes(raw) == b"null" else bytes(raw)


def _pretty(raw: bytes) -> str:
    try:
        return text.pretty_json(raw)
    except (MsgspecError, RecursionError):
        return text.visible(raw.decode("utf-8", "replace"))
