"""A hunt leaves out events of entities that cannot have a hit, and finds the same."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from src.tests.archived_events import write

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.cli.rule_paths import SHIPPED_RULES
from audit_analysis.events_api.database import Cancellation, SearchDatabase, SearchLimits
from audit_analysis.hunt import archive_hunt, checkpoint, entities
from audit_analysis.hunt.archive_hunt import HuntedFile
from audit_analysis.hunt.engine import Hunt, HuntedEvent
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event

from .test_archive_hunt import END_MS, FolderArchive, ids, row

START_MS = 1_772_366_400_000
LATENESS_MS = 900_000


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([SHIPPED_RULES], lateness=LATENESS_MS)


@pytest.fixture
def database(tmp_path: Path) -> SearchDatabase:
    return SearchDatabase(SearchLimits(seconds=60, threads=1), folders=[tmp_path])


def select(rules: RuleSet, title: str) -> RuleSet:
    return rules.select([rule.ref.id for rule in rules.rules if rule.ref.title == title])


def login(number: int, seconds: float, **fields: Any) -> ArchivedEvent:
    changed = {
        "event_id": f"e{number}",
        "timestamp": event.from_epoch_ms(START_MS + int(seconds * 1000)),
        "event_type": "user_login",
        "user_id": "alice",
        "server_hostname": "db-02",
        "client_ip": "10.0.0.1",
        "action_result": "FAILURE",
        **fields,
    }
    record = msgspec.json.encode({name: it for name, it in changed.items() if it is not None})
    decoded = event.decode(record)
    return row(decoded, record, event.epoch_ms(decoded.timestamp) + 100)


def archive_of(folder: Path, rows: Sequence[ArchivedEvent]) -> FolderArchive:
    file = write(folder / f"{len(list(folder.iterdir()))}.parquet", rows)
    processed = [archived.received_ms * 1000 for archived in rows]
    return FolderArchive(
        [
            HuntedFile(
                file.address, len(rows), file.min_occurred_ms, file.max_occurred_ms,
                min(processed), max(processed),
            )
        ]
    )  # fmt: skip


def hunt(
    rules: RuleSet, archive: FolderArchive, database: SearchDatabase, **options: Any
) -> archive_hunt.HuntResult:
    return archive_hunt.run(rules, archive, database, since_ms=0, until_ms=END_MS, **options)


def in_all_events(rules: RuleSet, rows: Sequence[ArchivedEvent]) -> set[str]:
    every = Hunt(rules)
    every.process(
        [
            HuntedEvent(archived.record, archived.occurred_ms, archived.received_ms)
            for archived in sorted(rows, key=lambda it: (it.received_ms, it.occurred_ms))
        ]
    )
    return ids(every.findings())


def test_correlations_of_own_events_have_a_gate(rules: RuleSet) -> None:
    gates = {
        rule.ref.title: gate
        for rule in rules.rules
        if (gate := entities.gate_of(rules.select([rule.ref.id]))) is not None
    }
    burst, guessed = gates["Burst of failed logins"], gates["Password guessed"]
    assert (set(burst.columns), burst.threshold, burst.timespan) == ({"user", "host"}, 3, 60_000)
    # The successful logins of a user and address matter only after five failed ones.
    assert (set(guessed.columns), guessed.threshold) == ({"user", "address"}, 5)
    assert len(guessed.detectors) == 1
    assert len(gates) >= 4
    # Rules for single events, and for the records of other products, have none.
    assert "Root shell by sudo" not in gates
    assert entities.gate_of(rules) is None


def test_the_entities_are_those_with_enough_events_within_the_timespan(
    rules: RuleSet, database: SearchDatabase, tmp_path: Path
) -> None:
    rng, selected = random.Random(5), select(rules, "Burst of failed logins")
    found_some = 0
    for attempt in range(15):
        # Given failed and successful logins of some users at some hosts, some without a user
        rows = [
            login(
                number, rng.uniform(0, 600), user_id=rng.choice(["a", "b", "c", "ä", "", None]),
                server_hostname=f"h{rng.randrange(2)}",
                action_result=rng.choice(["FAILURE", "failure", "SUCCESS"]),
            )
            for number in range(60)
        ]  # fmt: skip
        folder = tmp_path / str(attempt)
        folder.mkdir()
        archive = archive_of(folder, rows)
        # when the entities are selected, then they are exactly those with three in 60 s
        times: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for archived in rows:
            if archived.action_result != "SUCCESS" and archived.user is not None:
                assert archived.host is not None
                times[archived.user, archived.host].append(archived.occurred_ms)
        expected = {
            entity
            for entity, found in times.items()
            if any(
                third - first < 60_000
                for first, third in zip(sorted(found), sorted(found)[2:], strict=False)
            )
        }
        with database.search() as search:
            selection = archive_hunt.select(
                search, archive.files(since_ms=0, sources=None), selected, first_ms=0
            )
        assert selection.entities is not None
        assert set(selection.entities) == expected
        # and the hunt reads only their events, and finds the same
        result = hunt(selected, archive, database)
        assert ids(result.findings) == in_all_events(selected, rows)
        assert result.candidates == sum(len(times[entity]) for entity in expected)
        found_some += bool(result.findings)
    assert found_some > 5


@pytest.mark.parametrize(
    "record",
    [{"record": {"user_id": "alice", "action_result": "FAILURE"}}, {"details": {"x": "\u00e9\\u"}}],
)
def test_all_events_are_read_if_one_may_have_a_record_of_its_source(
    rules: RuleSet, database: SearchDatabase, tmp_path: Path, record: dict[str, Any]
) -> None:
    # Given three failed logins of alice, of which one names another user outside of its record
    rows = [login(1, 0), login(2, 5), login(3, 9, **{"user_id": "mallory", **record})]
    rows += [login(4 + part, 20 * part, user_id="bob") for part in range(2)]
    selected = select(rules, "Burst of failed logins")
    # when the rule is hunted, then all failed logins are read
    result = hunt(selected, archive_of(tmp_path, rows), database)
    assert result.candidates == 5
    assert ids(result.findings) == in_all_events(selected, rows)
    assert len(result.findings) == ("record" in record)


def test_too_many_entities_are_not_selected(
    rules: RuleSet, database: SearchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entities, "MAX_ENTITIES", 2)
    rows = [login(number, number % 3, user_id=f"u{number // 3}") for number in range(9)]
    rows.append(login(9, 0, user_id="other"))
    selected = select(rules, "Burst of failed logins")
    result = hunt(selected, archive_of(tmp_path, rows), database)
    assert (result.candidates, len(result.findings)) == (10, 3)


def test_a_hunt_begins_again_if_an_entity_was_left_out_that_matters_now(
    rules: RuleSet, database: SearchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a hunt that was cancelled after it left out two failed logins of bob
    monkeypatch.setattr(archive_hunt, "_SLICE_EVENTS", 1)
    monkeypatch.setattr(archive_hunt, "_MIN_SLICE_US", 1)
    monkeypatch.setattr(archive_hunt, "_CHECKPOINT_SECONDS", 0.0)
    alice = [login(number, number) for number in range(3)]
    bob = [login(3 + number, 10 + number, user_id="bob") for number in range(2)]
    selected = select(rules, "Burst of failed logins")
    files = [*archive_of(tmp_path, alice)._files, *archive_of(tmp_path, bob)._files]
    state, cancellation = tmp_path / "state", Cancellation()

    reports = iter(range(2))

    def cancel(progress: archive_hunt.Progress) -> None:
        """Cancel at the end of the slice of alice. Its state is written after that."""
        if progress.candidates == 3 and next(reports):
            cancellation.cancel()

    with pytest.raises(Exception, match="cancelled"):
        hunt(
            selected, FolderArchive(files), database, state=state, cancellation=cancellation,
            report=cancel,
        )  # fmt: skip
    known = checkpoint.read(state, archive_hunt.name_of(selected, 0))
    assert known is not None
    assert known.entities == [("alice", "db-02")]
    # when a third failed login of bob was archived meanwhile, then the continued hunt finds both
    more = login(9, 20, user_id="bob")
    result = hunt(selected, FolderArchive(files, [more]), database, state=state)
    assert ids(result.findings) == in_all_events(selected, [*alice, *bob, more])
    assert len(result.findings) == 2
