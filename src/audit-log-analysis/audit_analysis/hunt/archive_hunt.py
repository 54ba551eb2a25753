"""Runs a hunt over the archive, in slices of the time of arrival."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api.database import PENDING, Cancellation, Search, SearchDatabase
from audit_analysis.hunt import checkpoint
from audit_analysis.hunt.checkpoint import Checkpoint
from audit_analysis.hunt.engine import Hunt, HuntedEvent
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
#: Minimum length of a slice (ms).
_MIN_SLICE_MS: Final = 60_000


class HuntedFile(Struct, frozen=True):
    """A file, its number of rows, and the ranges of its times, both ends included (ms)."""

    address: str
    rows: int
    min_occurred_ms: int
    max_occurred_ms: int
    min_received_ms: int
    max_received_ms: int


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
    if known is not None:
        hunt.restore(known.state)
    pending = archive.pending()
    files = archive.files(since_ms=first_ms, sources=condition.sources)
    total = sum(file.rows for file in files)
    saved_at = monotonic()
    processed = 0
    with database.search(pending, cancellation=cancellation, seconds=seconds) as search:
        for start_ms, end_ms in _slices(files, pending):
            own = [
                file
                for file in files
                if file.max_received_ms >= start_ms and file.min_received_ms < end_ms
            ]
            processed += sum(file.rows for file in own if file.max_received_ms < end_ms)
            if known is not None and end_ms <= known.next_ms:
                continue
            for events in _candidates(
                search,
                own,
                condition,
                start_ms=max(start_ms, known.next_ms if known else 0),
                end_ms=end_ms,
                first_ms=first_ms,
            ):
                hunt.process(events)
                report(Progress(processed, total, hunt.events, hunt.number_of_findings))
            report(Progress(processed, total, hunt.events, hunt.number_of_findings))
            if state is not None and monotonic() >= saved_at + _CHECKPOINT_SECONDS:
                checkpoint.write(state, Checkpoint(name, end_ms, until_ms, hunt.state()))
                saved_at = monotonic()
    if state is not None:
        state.unlink(missing_ok=True)
    findings = hunt.findings(event.from_epoch_ms(max(0, since_ms)), event.from_epoch_ms(until_ms))
    return HuntResult(findings, hunt.events, hunt.refused, total + len(pending))


def _slices(
    files: Sequence[HuntedFile], pending: Sequence[ArchivedEvent]
) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of the time of arrival, each with about the same number of events."""
    ends = [(file.max_received_ms, file.rows) for file in files]
    ends += [(archived.received_ms, 1) for archived in pending]
    starts = [file.min_received_ms for file in files]
    starts += [archived.received_ms for archived in pending]
    if not starts:
        return
    start, events = min(starts), 0
    for end, rows in sorted(ends):
        events += rows
        if events >= _SLICE_EVENTS and end - start >= _MIN_SLICE_MS:
            yield start, end + 1
            start, events = end + 1, 0
    if start <= max(end for end, _ in ends):
        yield start, max(end for end, _ in ends) + 1


def _candidates(
    search: Search,
    files: Sequence[HuntedFile],
    condition: EventCondition,
    *,
    start_ms: int,
    end_ms: int,
    first_ms: int,
) -> Iterator[list[HuntedEvent]]:
    """The events that a rule could match, in the order of their arrival."""
    columns = "record, occurred_ms, received_ms, event_id, refused"
    used = f"{columns}, product, event_type"
    table = f"SELECT {used} FROM {PENDING}"
    parameters = condition.parameters | {
        "start_ms": start_ms, "end_ms": end_ms, "first_ms": first_ms
    }  # fmt: skip
    if files:
        table += f" UNION ALL SELECT {used} FROM read_parquet($files)"
        parameters |= {"files": [file.address for file in files]}
    statement = (
        f"SELECT record, occurred_ms, received_ms FROM ({table})"
        " WHERE received_ms >= $start_ms AND received_ms < $end_ms AND occurred_ms >= $first_ms"
        f" AND NOT refused AND ({condition.text})"
        " ORDER BY received_ms, occurred_ms, event_id"
    )
    for part in search.stream(statement, parameters, size=_ROWS):
        yield [HuntedEvent(*row) for row in part]


def name_of(rules: RuleSet, since_ms: int) -> str:
    """A text that differs between hunts whose states are different."""
    parts = [(rule.ref.id, rule.ref.revision, rule.window) for rule in rules.all_rules]
    encoded = msgspec.json.encode((sorted(parts, key=lambda part: part[0]), since_ms))
    return blake2b(encoded, digest_size=16).hexdigest()
