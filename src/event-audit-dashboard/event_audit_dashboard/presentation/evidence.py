"""The events of findings, limited to the size of one page."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import UNSET, MsgspecError, Raw, Struct, UnsetType

from event_audit_dashboard.alerts import EventRef, Finding
from event_audit_dashboard.presentation import text

#: Maximum number of characters of full events on one page.
PAGE_BUDGET: Final = 600_000
#: Maximum number of characters of one event.
EVENT_BUDGET: Final = 60_000


class FullEvent(Struct, frozen=True):
    """An event in full. ``left_out`` is the number of characters that are not shown."""

    heading: str
    json: str
    left_out: int = 0


class FindingView(Struct, frozen=True):
    """A finding with the events to show."""

    finding: Finding
    full_events: tuple[FullEvent, ...]
    events: tuple[EventRef, ...]
    #: Number of events that the finding counts but does not list.
    unlisted: int


def build_views(findings: Sequence[Finding]) -> list[FindingView]:
    """Keep the order. When the budget is used up, full events are left out."""
    budget = PAGE_BUDGET
    views = []
    for finding in findings:
        full_events = []
        for heading, raw in _raws(finding):
            pretty = _pretty(raw)
            kept = pretty[: min(EVENT_BUDGET, max(0, budget))]
            budget -= len(kept)
            full_events.append(FullEvent(heading, kept, len(pretty) - len(kept)))
        events = finding.evidence.events
        unlisted = max(0, finding.count - len(events))
        views.append(FindingView(finding, tuple(full_events), events, unlisted))
    return views


def _raws(finding: Finding) -> Iterator[tuple[str, bytes]]:
    first, last = (
        _bytes(raw) for raw in (finding.evidence.first_event, finding.evidence.last_event)
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
