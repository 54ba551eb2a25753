"""Runs a hunt over the archive, in slices of the time at which the analysis received events."""

import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from audit_analysis.archive.table import PROCESSED_US, ArchivedEvent, rows_of
from audit_analysis.events_api.database import (
    PENDING,
    Cancellation,
    Search,
    SearchDatabase,
    SearchTooLarge,
)
from audit_analysis.hunt import checkpoint, entities
from audit_analysis.hunt.checkpoint import Checkpoint
from audit_analysis.hunt.engine import Hunt, HuntedEvent
from audit_analysis.hunt.entities import EntityCondition, Selection
from audit_analysis.hunt.prefilter import EventCondition
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event
from auditflow.contract.finding import Finding

#: Number of rows that are processed at once.
_ROWS: Final = 2_000
#: Time between two checkpoints (seconds).
_CHECKPOINT_SECONDS: Final = 5.0
#: Approximate number of events of a slice.
_SLICE_EVENTS: Final = 500_000
#: Minimum length of a slice (microseconds).
_MIN_SLICE_US: Final = 60_000_000
#: The version of the state of a hunt. A state of another version is not continued.
_VERSION: Final = 2


class HuntedFile(Struct, frozen=True):
    """A file, its number of rows, and the ranges of its times, both ends included.

    The times of occurrence are in milliseconds, those of the analysis in microseconds since 1970.
    """

    address: str
    rows: int
    min_occurred_ms: int
    max_occurred_ms: int
    min_processed_us: int
    max_processed_us: int


class HuntedArchive(Protocol):
    """Gives a hunt the files of the archive."""

    def files(self, *, since_ms: int, sources: Sequence[str] | None) -> list[HuntedFile]:
        """The files with events at or after a time.

        Raises:
            auditflow.errors.Unavailable: the manifest cannot be read.
        """
        ...

    def pending(self) -> Sequence[ArchivedEvent]:
        """The events that are in no file yet. Read them before the files."""
        ...


class Progress(Struct, frozen=True):
    """The progress of a hunt: events that were read, candidates that rules evaluated, findings."""

    events: int
    total_events: int
    candidates: int
    findings: int


class HuntResult(Struct, frozen=True):
    """The findings with events in the time range, and what the hunt read."""

    findings: tuple[Finding, ...]
    candidates: int
    refused: int
    total_events: int


def warm_up_ms(rules: RuleSet) -> int:
    """The maximum time before the range at which an event can belong to a finding of the range."""
    windows = [rule.window for rule in rules.all_rules if rule.window is not None]
    return sum(window.retention for window in windows)


def run(
    rules: RuleSet,
    archive: HuntedArchive,
    database: SearchDatabase,
    *,
    since_ms: int,
    until_ms: int,
    state: Path | None = None,
    cancellation: Cancellation | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    seconds: float = 24 * 3600.0,
    environment: str = "hunt",
) -> HuntResult:
    """Hunt for the findings of ``rules`` with events from ``since_ms`` on and before ``until_ms``.

    With ``state``, the hunt continues where an earlier one with the same rules and the same
    ``since_ms`` ended. The file is deleted at the end. ``environment`` is that of the findings.

    Raises:
        InvalidCheckpoint: the file belongs to another hunt.
        SearchCancelled: the hunt was cancelled. Its state is in the file.
        SearchTimeout, SearchTooLarge, Unavailable: as searches.
    """
    condition = EventCondition(rules.detectors)
    name = name_of(rules, since_ms)
    known = checkpoint.read(state, name) if state else None
    if known is not None:
        until_ms = known.until_ms
    first_ms = since_ms - warm_up_ms(rules)
    hunt = Hunt(rules, environment=environment)
    pending = archive.pending()
    files = archive.files(since_ms=first_ms, sources=condition.sources)
    total = sum(file.rows for file in files)
    saved_at = monotonic()
    processed = 0
    report(Progress(0, total, 0, 0))
    with database.search(pending, cancellation=cancellation, seconds=seconds) as search:
        selection = select(search, files, rules, first_ms=first_ms)
        if known is not None and not selection.continues(known.entities):
            known = None
        if known is not None:
            hunt.restore(known.state)
            selection = Selection(selection.condition, known.entities)
        for start_us, end_us in _slices(files, pending):
            own = [
                file
                for file in files
                if file.max_processed_us >= start_us and file.min_processed_us < end_us
            ]
            processed += sum(file.rows for file in own if file.max_processed_us < end_us)
            if known is not None and end_us <= known.next_us:
                continue
            for events in _candidates(
                search,
                own,
                condition,
                selection,
                start_us=max(start_us, known.next_us if known else 0),
                end_us=end_us,
                first_ms=first_ms,
            ):
                hunt.process(events)
                report(Progress(processed, total, hunt.events, hunt.number_of_findings))
            report(Progress(processed, total, hunt.events, hunt.number_of_findings))
            if state is not None and monotonic() >= saved_at + _CHECKPOINT_SECONDS:
                checkpoint.write(
                    state,
                    Checkpoint(name, end_us, until_ms, hunt.state(), selection.entities),
                )
                saved_at = monotonic()
    if state is not None:
        state.unlink(missing_ok=True)
    findings = hunt.findings(event.from_epoch_ms(max(0, since_ms)), event.from_epoch_ms(until_ms))
    return HuntResult(findings, hunt.events, hunt.refused, total + len(pending))


def _slices(
    files: Sequence[HuntedFile], pending: Sequence[ArchivedEvent]
) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of the time of the analysis, each with about as many events."""
    ends = [(file.max_processed_us, file.rows) for file in files]
    ends += [(_processed_us(archived), 1) for archived in pending]
    starts = [file.min_processed_us for file in files]
    starts += [_processed_us(archived) for archived in pending]
    if not starts:
        return
    start, events = min(starts), 0
    for end, rows in sorted(ends):
        events += rows
        if events >= _SLICE_EVENTS and end - start >= _MIN_SLICE_US:
            yield start, end + 1
            start, events = end + 1, 0
    if start <= max(end for end, _ in ends):
        yield start, max(end for end, _ in ends) + 1


def select(
    search: Search, files: Sequence[HuntedFile], rules: RuleSet, *, first_ms: int
) -> Selection:
    """The entities that the rules could report, in the events from ``first_ms`` on."""
    gate = entities.gate_of(rules)
    if gate is None:
        return Selection()
    used = f"occurred_ms, record, {', '.join(entities.COLUMNS)}"
    rows = f"SELECT {used}, refused FROM {PENDING}"
    parameters: dict[str, Any] = {"first_ms": first_ms}
    if files:
        rows += f" UNION ALL SELECT {used}, refused FROM read_parquet($files)"
        parameters |= {"files": [file.address for file in files]}
    table = f"(SELECT {used} FROM ({rows}) WHERE occurred_ms >= $first_ms AND NOT refused)"
    condition = EntityCondition(gate, rules.detectors)
    parameters |= condition.parameters
    uncertain, statement = condition.uncertain(table), condition.entities(table)
    try:
        if search.rows(uncertain, _used(uncertain, parameters)):
            return Selection()
        found = search.rows(statement, _used(statement, parameters))
    except SearchTooLarge:
        return Selection()
    if len(found) > entities.MAX_ENTITIES:
        return Selection()
    return Selection(condition, sorted(found))


def _candidates(
    search: Search,
    files: Sequence[HuntedFile],
    condition: EventCondition,
    selection: Selection,
    *,
    start_us: int,
    end_us: int,
    first_ms: int,
) -> Iterator[list[HuntedEvent]]:
    """The events that a rule could match, in the order of the analysis."""
    columns = "record, occurred_ms, received_ms, event_id, refused, processed_us, position"
    used = f"{columns}, product, {', '.join(entities.COLUMNS)}"
    table = f"SELECT {used} FROM {PENDING}"
    parameters: dict[str, Any] = {"start_us": start_us, "end_us": end_us, "first_ms": first_ms}
    if files:
        table += f" UNION ALL SELECT {used} FROM {rows_of('$files')}"
        parameters |= {"files": [file.address for file in files]}
    table, text, more = selection.apply(f"({table})", condition)
    statement = (
        f"SELECT record, occurred_ms, {PROCESSED_US} // 1000 FROM {table}"
        f" WHERE {PROCESSED_US} >= $start_us AND {PROCESSED_US} < $end_us"
        f" AND occurred_ms >= $first_ms AND NOT refused AND ({text})"
        f" ORDER BY {PROCESSED_US}, position, received_ms, occurred_ms, event_id"
    )
    for part in search.stream(statement, _used(statement, parameters | more), size=_ROWS):
        yield [HuntedEvent(*row) for row in part]


def _used(statement: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a statement uses. DuckDB refuses others."""
    names = set(re.findall(r"\$(\w+)", statement))
    return {name: value for name, value in parameters.items() if name in names}


def name_of(rules: RuleSet, since_ms: int) -> str:
    """A text that differs between hunts whose states are different."""
    parts = [(rule.ref.id, rule.ref.revision, rule.window) for rule in rules.all_rules]
    encoded = msgspec.json.encode((_VERSION, sorted(parts, key=lambda part: part[0]), since_ms))
    return blake2b(encoded, digest_size=16).hexdigest()


def _processed_us(archived: ArchivedEvent) -> int:
    return archived.received_ms * 1000 if archived.processed_us is None else archived.processed_us
