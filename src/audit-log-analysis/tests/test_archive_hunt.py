"""A hunt in the files of an archive finds what a hunt in all its events finds."""

import random
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from src.tests.archived_events import write

from audit_analysis.archive.table import ArchivedEvent, source_of
from audit_analysis.cli.rule_paths import SHIPPED_RULES
from audit_analysis.events_api.database import (
    Cancellation,
    SearchCancelled,
    SearchDatabase,
    SearchLimits,
)
from audit_analysis.hunt import archive_hunt, checkpoint
from audit_analysis.hunt.archive_hunt import HuntedFile, Progress
from audit_analysis.hunt.checkpoint import InvalidCheckpoint
from audit_analysis.hunt.engine import Hunt, HuntedEvent
from audit_analysis.hunt.prefilter import EventCondition
from audit_analysis.ruletools import ruletest
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import Rule, RuleSet
from auditflow.contract import event
from auditflow.contract.event import Event
from auditflow.errors import ContractError

END_MS = 2**45
LATENESS_MS = 900_000


class FolderArchive:
    """A ``HuntedArchive`` of known files."""

    def __init__(self, files: Sequence[HuntedFile], pending: Sequence[ArchivedEvent] = ()) -> None:
        self._files, self._pending = files, pending

    def files(self, *, since_ms: int, sources: Sequence[str] | None) -> list[HuntedFile]:
        del sources
        return [file for file in self._files if file.max_occurred_ms >= since_ms]

    def pending(self) -> Sequence[ArchivedEvent]:
        return self._pending


def disguised(record: bytes, rng: random.Random) -> bytes:
    """The same JSON, written in another way, and with other letter cases in some texts."""
    text = record.decode()
    if rng.random() < 0.3:
        text = text.replace("/", "\\/")
    if rng.random() < 0.3:
        text = "".join(
            f"\\u{ord(letter):04x}" if letter.isalpha() and rng.random() < 0.2 else letter
            for letter in text
        )
        try:
            event.decode(text.encode())
        except ContractError:  # an escape in the middle of another one, or in the name of a field
            return record
    if rng.random() < 0.2:
        text = text.replace("FAILURE", "Failure").replace("passwd", "PASSWD")
    return text.encode()


def row(decoded: Event, record: bytes, received_ms: int) -> ArchivedEvent:
    source = decoded.logsource
    return ArchivedEvent(
        decoded.event_id, received_ms, event.epoch_ms(decoded.timestamp), source_of(source),
        decoded.event_type, decoded.severity.value, decoded.action_result, decoded.source_service,
        decoded.server_hostname, decoded.user_id, decoded.address, decoded.object,
        source.product if source else None, source.service if source else None,
        source.category if source else None, None, False, False, False, False, None, record,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([SHIPPED_RULES], lateness=LATENESS_MS)


@pytest.fixture(scope="module")
def rows() -> list[ArchivedEvent]:
    """The events of the tests of all shipped rules, written in different ways."""
    rng = random.Random(1)
    found = []
    for number, test in enumerate(ruletest.collect([SHIPPED_RULES])):
        for raw in test.events:
            decoded = event.decode(raw)
            event_id = f"{number}-{decoded.event_id}"
            changed = msgspec.structs.replace(decoded, event_id=event_id)
            record = disguised(event.encode(changed), rng)
            # Tests begin at the same time. They must not be in the same windows.
            shifted = event.decode(record)
            assert shifted.event_id == event_id
            received_ms = event.epoch_ms(decoded.timestamp) + rng.randrange(5_000)
            found.append(row(shifted, record, received_ms))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def database(folder: Path) -> SearchDatabase:
    return SearchDatabase(SearchLimits(seconds=60, threads=1), folders=[folder])


@pytest.fixture(scope="module")
def archive(rows: list[ArchivedEvent], folder: Path) -> FolderArchive:
    parts: list[list[ArchivedEvent]] = [[] for _ in range(6)]
    for number, archived in enumerate(rows):
        parts[number % 6].append(archived)
    files = []
    for part in parts[1:]:
        file = write(folder / f"{uuid.uuid4()}.parquet", part)
        processed = [archived.received_ms * 1000 for archived in part]
        files.append(
            HuntedFile(
                file.address, len(part), file.min_occurred_ms, file.max_occurred_ms,
                min(processed), max(processed),
            )
        )  # fmt: skip
    return FolderArchive(files, parts[0])


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_hunt, "_SLICE_EVENTS", 50)
    monkeypatch.setattr(archive_hunt, "_MIN_SLICE_US", 100_000)
    monkeypatch.setattr(archive_hunt, "_CHECKPOINT_SECONDS", 0.0)


def ids(findings: Sequence[object]) -> set[str]:
    return {str(getattr(found, "finding_id")) for found in findings}  # noqa: B009


def in_all_events(rules: RuleSet, rows: Sequence[ArchivedEvent]) -> set[str]:
    hunt = Hunt(rules)
    ordered = sorted(rows, key=lambda row: (row.received_ms, row.occurred_ms, row.event_id))
    hunt.process([HuntedEvent(row.record, row.occurred_ms, row.received_ms) for row in ordered])
    return ids(hunt.findings())


@pytest.mark.usefixtures("small_slices")
def test_each_shipped_rule_finds_the_same_with_the_condition_of_duckdb(
    rules: RuleSet, rows: list[ArchivedEvent], archive: FolderArchive, database: SearchDatabase
) -> None:
    number_with_findings = 0
    for rule in rules.rules:
        selected = rules.select([rule.ref.id])
        expected = in_all_events(selected, rows)
        result = archive_hunt.run(selected, archive, database, since_ms=0, until_ms=END_MS)
        assert ids(result.findings) == expected, rule.ref.title
        assert result.candidates <= len(rows)
        number_with_findings += bool(expected)
    assert number_with_findings > len(rules.rules) * 0.9


def test_most_rules_read_few_candidates(rules: RuleSet) -> None:
    conditions = [EventCondition(rules.select([rule.ref.id]).detectors) for rule in rules.rules]
    assert sum("regexp_matches" in condition.text for condition in conditions) > (
        len(conditions) * 0.7
    )
    assert sum(condition.sources is not None for condition in conditions) == len(conditions)


@pytest.mark.usefixtures("small_slices")
def test_a_cancelled_hunt_continues(
    rules: RuleSet,
    rows: list[ArchivedEvent],
    archive: FolderArchive,
    database: SearchDatabase,
    tmp_path: Path,
) -> None:
    # Given hunts of four rules of each kind of window, which are cancelled again and again
    rng, cancelled = random.Random(3), 0
    kinds: dict[str, list[Rule]] = {}
    for rule in rules.rules:
        if rule.window is not None:
            kinds.setdefault(rule.window.kind, []).append(rule)
    assert len(kinds) > 2
    for rule in [rule for found in kinds.values() for rule in found[:4]]:
        selected = rules.select([rule.ref.id])
        expected = in_all_events(selected, rows)
        state = tmp_path / "hunt"
        for _ in range(200):
            cancellation, reports = Cancellation(), iter(range(rng.randint(1, 8)))

            def report(
                progress: Progress, own: Cancellation = cancellation, left: Iterator[int] = reports
            ) -> None:
                assert progress.candidates <= len(rows)
                if next(left, None) is None:
                    own.cancel()

            try:
                result = archive_hunt.run(
                    selected, archive, database, since_ms=0, until_ms=END_MS, state=state,
                    cancellation=cancellation, report=report,
                )  # fmt: skip
            except SearchCancelled:
                cancelled += 1
                continue
            break
        # then the last attempt has all findings, and the state is deleted
        assert ids(result.findings) == expected, rule.ref.title
        assert not state.exists()
    assert cancelled > 10


def test_the_state_of_another_hunt_is_refused(
    rules: RuleSet, archive: FolderArchive, database: SearchDatabase, tmp_path: Path
) -> None:
    first, second = (rules.select([rule.ref.id]) for rule in rules.rules[:2])
    state = tmp_path / "hunt"
    name = archive_hunt.name_of(first, 0)
    checkpoint.write(state, checkpoint.Checkpoint(name, 0, END_MS, Hunt(first).state()))
    for invalid in (second, first):
        with pytest.raises(InvalidCheckpoint):
            archive_hunt.run(invalid, archive, database, since_ms=0, until_ms=END_MS, state=state)
        state.write_bytes(b"damaged")


def test_only_findings_of_the_time_range_are_reported(
    rules: RuleSet, archive: FolderArchive, database: SearchDatabase
) -> None:
    rule = next(rule for rule in rules.rules if rule.ref.title == "Burst of failed logins")
    selected = rules.select([rule.ref.id])
    every = archive_hunt.run(selected, archive, database, since_ms=0, until_ms=END_MS).findings
    middle = sorted(found.first_seen for found in every)[len(every) // 2]
    middle_ms = event.epoch_ms(middle)
    later = archive_hunt.run(
        selected, archive, database, since_ms=middle_ms + 1000, until_ms=END_MS
    ).findings
    assert ids(later) == ids(
        [found for found in every if event.epoch_ms(found.last_seen) >= middle_ms + 1000]
    )
