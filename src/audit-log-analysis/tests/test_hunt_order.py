"""A hunt processes events in the order of live detection, also if they arrived at the same time."""

import datetime as dt
import random
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from src.tests.archived_events import FolderArchive, archived, write

from audit_analysis.archive import decoding
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.table import COLUMNS, ArchivedEvent
from audit_analysis.events_api.archive_search import ArchiveSearch, SearchedFile
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.query import EventFilter
from audit_analysis.hunt import archive_hunt
from audit_analysis.hunt.file_archive import FileArchive
from audit_analysis.service.archiving import Archiver
from audit_analysis.service.metrics import Metrics
from audit_analysis.service.pipeline import Pipeline
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.windows.redis_windows import RedisWindows
from auditflow.amqp import Delivery, Message, topology
from auditflow.amqp.delivery import encode_properties
from auditflow.contract import acceptance, archive, event, finding
from auditflow.contract.event import from_epoch_ms

from .test_hunt import LATENESS_SECONDS, RULES, START, write_rules

END_MS: Final = 2**45
ACCEPTED_MS: Final = event.epoch_ms(START) + 1_000


@st.composite
def ties(draw: st.DrawFn) -> list[list[list[bytes]]]:
    """Batches of messages of events that the ingest accepted in the same millisecond.

    Many events have the same timestamp. Some are later than the lateness of the windows, so that
    the findings depend on the order.
    """
    rng = random.Random(draw(st.integers(0, 2**32)))
    steps = draw(st.sampled_from([2, 10, 200]))
    raws = [
        msgspec.json.encode(
            {
                "event_id": f"{rng.randrange(2**32):08x}",
                "timestamp": START + dt.timedelta(seconds=rng.randrange(steps) * 400 / steps),
                "event_type": "user_login",
                "action_result": rng.choice(("FAILURE", "FAILURE", "SUCCESS", "DENIED", "OTHER")),
                "user_id": rng.choice("aaabbbcdef"),
                "client_ip": rng.choice(("192.0.2.1", "192.0.2.2")),
            }
        )
        for _ in range(draw(st.integers(1, 60)))
    ]
    raws += rng.sample(raws, len(raws) // 10)
    batches: list[list[list[bytes]]] = []
    while raws:
        batch: list[list[bytes]] = []
        for _ in range(rng.randint(1, 4)):
            size = rng.randint(1, 4)
            if part := raws[:size]:
                batch.append(part)
            raws = raws[size:]
        batches.append(batch)
    return batches


class Live:
    """Live detection with its archive."""

    def __init__(self, rules: RuleSet, windows: RedisWindows) -> None:
        self.found: dict[str, set[UUID]] = {}
        self.rows: list[list[ArchivedEvent]] = []
        self._rules = rules
        self._time_ms: int | None = None
        self._pipeline = Pipeline(
            lambda: self._rules,
            windows,
            self._publish,
            environment="test",
            metrics=Metrics(CollectorRegistry()),
            archiver=Archiver(),
            now=self._now,
        )

    def _now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) if self._time_ms is None else from_epoch_ms(self._time_ms)

    def change_rules(self, rules: RuleSet) -> None:
        self._rules = rules

    def process(self, batch: Sequence[Sequence[bytes]], *, time_ms: int | None = None) -> None:
        """Process messages of events, now or at a time."""
        self._time_ms = time_ms
        accepted_ms = ACCEPTED_MS if time_ms is None else time_ms
        properties = encode_properties(headers={acceptance.HEADER: accepted_ms})
        self._pipeline(
            [Delivery(b"[" + b",".join(raws) + b"]", properties=properties) for raws in batch]
        )

    def _publish(self, messages: Sequence[Message]) -> Callable[[], None]:
        for message in messages:
            if message.routing_key == topology.ARCHIVE_KEY:
                decoded = decoding.messages_of_batch(archive.decode(message.body))
                self.rows.append([row for item in decoded for row in item.rows])
                continue
            version = finding.decode(message.body, now=START + dt.timedelta(days=1))
            self.found.setdefault(version.rule.title, set()).add(version.finding_id)
        return lambda: None


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    writer = ParquetWriter(tmp_path / "files", memory_mebibytes=128, threads=1)
    yield writer
    writer.close()


@pytest.fixture
def database(tmp_path: Path) -> SearchDatabase:
    return SearchDatabase(SearchLimits(seconds=60, threads=1), folders=[tmp_path])


def test_a_hunt_finds_the_same_in_events_of_the_same_time(
    redis_windows: RedisWindows,
    writer: ParquetWriter,
    database: SearchDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_hunt, "_SLICE_EVENTS", 10)
    monkeypatch.setattr(archive_hunt, "_MIN_SLICE_US", 1)
    fired: set[str] = set()

    @settings(max_examples=60, deadline=None)
    @given(ties(), st.booleans())
    def check(batches: list[list[list[bytes]]], is_merged: bool) -> None:
        # Given a stream that live detection has processed and archived
        seed = uuid.uuid4()
        rules = load([write_rules(tmp_path, seed)], lateness=LATENESS_SECONDS * 1000)
        live = Live(rules, redis_windows)
        for batch in batches:
            live.process(batch)
        fired.update(live.found)
        # in several files, in any order, which may be merged
        files = [writer.write(rows).local for rows in reversed(live.rows)]
        if is_merged:
            merged = writer.merge([str(file) for file in files]).local
            for file in files:
                file.unlink()
            files = [merged]
        # when each rule is hunted, then the identities of the findings are the same
        file_archive = FileArchive(files)
        for name in RULES:
            selected = rules.select([str(uuid.uuid5(seed, name))])
            result = archive_hunt.run(selected, file_archive, database, since_ms=0, until_ms=END_MS)
            found = {found.finding_id for found in result.findings}
            assert found == live.found.get(name, set()), name
        for file in files:
            file.unlink()

    check()
    assert fired.issuperset(RULES)


def test_the_order_is_that_of_batches_and_of_events_in_them() -> None:
    # Given a batch with several messages, and one of an older version
    properties = encode_properties(headers={acceptance.HEADER: ACCEPTED_MS})

    def rows(processed_us: int | None) -> list[tuple[int | None, int | None]]:
        messages = [
            archive.ArchivedMessage(properties, body)
            for body in (_events(2), b"\xff", _events(1), _events(3))
        ]
        body = archive.compress(messages).with_notes(
            (), processed_ms=ACCEPTED_MS + 5, processed_us=processed_us
        )
        decoded = decoding.messages_of_batch(archive.decode(body))
        return [(row.processed_us, row.position) for item in decoded for row in item.rows]

    # then each event and refused record has the time of the batch and its position in it
    assert rows(7) == [(7, position) for position in range(7)]
    assert rows(None) == [((ACCEPTED_MS + 5) * 1000, position) for position in range(7)]


def _events(count: int) -> bytes:
    return msgspec.json.encode(
        [
            {"event_id": f"e{number}", "timestamp": START, "event_type": "user_login"}
            for number in range(count)
        ]
    )


def test_files_without_the_order_are_read_and_merged(
    writer: ParquetWriter, database: SearchDatabase, tmp_path: Path
) -> None:
    # Given a file of an older version and a new one
    old = tmp_path / "old.parquet"
    write(tmp_path / "new-columns.parquet", [archived(1), archived(2)])
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    duckdb.execute(
        f"COPY (SELECT {names} FROM '{tmp_path}/new-columns.parquet') TO '{old}' (FORMAT parquet)"
    )
    new = [
        archived(3)._replace(processed_us=4, position=1),
        archived(2)._replace(processed_us=4, position=0),
    ]
    written = writer.write(new)
    assert (written.min_processed_us, written.max_processed_us) == (4, 4)
    # when both are merged, then each event is there once, and the duplicate that was first
    merged = writer.merge([str(old), str(written.local)])
    found = duckdb.execute(
        "SELECT event_id, processed_us, position FROM read_parquet(?) ORDER BY event_id",
        [str(merged.local)],
    ).fetchall()
    assert found == [("e00001", None, None), ("e00002", 4, 0), ("e00003", 4, 1)]
    assert merged.max_processed_us == archived(1).received_ms * 1000
    # and an export of both has the columns of the order
    files = [SearchedFile(str(path), 0, END_MS) for path in (old, written.local)]
    searches = ArchiveSearch(FolderArchive(files), database)
    events = [
        item
        for part in searches.export(EventFilter(since_ms=0, until_ms=END_MS), seconds=60)
        for item in part
    ]
    assert [item.event_id for item in events] == ["e00001", "e00002", "e00003"]
    only_old = ArchiveSearch(FolderArchive(files[:1]), database)
    assert (
        sum(
            len(part)
            for part in only_old.export(EventFilter(since_ms=0, until_ms=END_MS), seconds=60)
        )
        == 2
    )
