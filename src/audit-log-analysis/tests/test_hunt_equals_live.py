"""Hunts give the findings of live detection, for random rules over random streams.

Live detection runs with a real Redis and archives the events; the hunts read the archived files.
HUNT_EXAMPLES is the number of random examples, and HUNT_SEED chooses them.
"""

import datetime as dt
import os
import random
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import seed as use_seed
from hypothesis import strategies as st

from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.hunt import archive_hunt
from audit_analysis.hunt.file_archive import FileArchive
from audit_analysis.sigma.load import load
from audit_analysis.windows.redis_windows import RedisWindows
from auditflow.contract import event

from .test_hunt_order import END_MS, Live

EXAMPLES: Final = int(os.environ.get("HUNT_EXAMPLES", "40"))
SEED: Final = os.environ.get("HUNT_SEED")
START: Final = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
LATENESS_SECONDS: Final = 60
OUTCOMES: Final = ("FAILURE", "SUCCESS", "DENIED")
GROUPS: Final[tuple[list[str], ...]] = (
    [],
    ["user_id"],
    ["client_ip"],
    ["user_id", "server_hostname"],
)


class Rules:
    """Random rules. ``documents`` gives them with ids that depend on a seed."""

    def __init__(self, rng: random.Random) -> None:
        self.names: list[str] = []
        self._documents: list[dict[str, Any]] = []
        for outcome in OUTCOMES:
            grouped = rng.choice((None, "user_id", "server_hostname"))
            options = {"group-by": [grouped], "dedup": self._seconds(rng)} if grouped else None
            self._add(
                outcome,
                logsource={"product": "auditflow", "category": "authentication"},
                detection={"own": {"action_result": outcome}, "condition": "own"},
                **({"auditflow": options} if options else {}),
            )
        for number in range(rng.randint(1, 3)):
            self._add_correlation(rng, f"first-{number}", list(OUTCOMES), rng.choice(GROUPS))
        for number in range(rng.randint(0, 2)):
            self._add_correlation_of_findings(rng, f"second-{number}", number_of_first=number + 1)

    def _add(self, name: str, **content: Any) -> None:
        self.names.append(name)
        self._documents.append(
            {"title": name, "name": name, "status": "test", "level": "high", **content}
        )

    @staticmethod
    def _seconds(rng: random.Random) -> str:
        return f"{rng.choice((5, 40, 60, 300))}s"

    def _add_correlation(
        self, rng: random.Random, name: str, rules: list[str], group_by: list[str]
    ) -> None:
        kind = rng.choice(("event_count", "value_count", "temporal", "temporal_ordered"))
        used = rng.sample(rules, rng.randint(2 if kind.startswith("temporal") else 1, len(rules)))
        correlation: dict[str, Any] = {"type": kind, "rules": used}
        if kind.endswith("count"):
            operator, count = rng.choice((("gte", 1), ("gte", 2), ("gte", 4), ("gt", 1), ("gt", 2)))
            correlation["condition"] = {operator: count}
        if kind == "value_count":
            correlation["condition"]["field"] = rng.choice(("client_ip", "server_hostname"))
        if kind == "temporal" and rng.random() < 0.3:
            correlation["condition"] = {"gte": rng.randint(1, len(used))}
        self._add_window(rng, name, correlation, group_by)

    def _add_correlation_of_findings(
        self, rng: random.Random, name: str, *, number_of_first: int
    ) -> None:
        """A correlation of the findings of another one, and perhaps of a rule."""
        first = self._documents[len(OUTCOMES) + number_of_first % (len(self._documents) - 3)]
        group_by: list[str] = rng.choice(([], first["correlation"]["group-by"]))
        kind = rng.choice(("event_count", "temporal", "temporal_ordered"))
        if kind == "event_count":
            correlation: dict[str, Any] = {
                "type": kind, "rules": [first["name"]], "condition": {"gte": rng.randint(1, 3)},
            }  # fmt: skip
        else:
            rules = [first["name"], rng.choice(OUTCOMES)]
            rng.shuffle(rules)
            correlation = {"type": kind, "rules": rules}
        self._add_window(rng, name, correlation, group_by)

    def _add_window(
        self, rng: random.Random, name: str, correlation: dict[str, Any], group_by: list[str]
    ) -> None:
        options = {"group-by": group_by, "timespan": self._seconds(rng), "generate": True}
        self._add(
            name, correlation={**correlation, **options}, auditflow={"dedup": self._seconds(rng)}
        )

    def write(self, path: Path, seed: UUID, **changes: str) -> Path:
        """Write the rules with other texts."""
        documents = [
            {**document, "id": str(uuid.uuid5(seed, document["name"])), **changes}
            for document in self._documents
        ]
        path.write_text(yaml.safe_dump_all(documents))
        return path


class Stream:
    """Messages of events, in batches, and the time of each batch (ms).

    Events arrive shuffled, some twice, some later than the lateness of the windows. Some have
    timestamps in the future, no timestamp that differs from others, or missing fields.
    """

    def __init__(self, rng: random.Random) -> None:
        self.batches: list[list[list[bytes]]] = []
        self.times_ms: list[int] = []
        spread = rng.choice((30, 300, 1500))
        step = rng.choice((1, 1, 1000, 40_000))  # many events of the same time
        arrivals: list[tuple[float, bytes]] = []
        for number in range(rng.randint(1, 80)):
            at_ms = rng.randrange(spread * 1000) // step * step
            delay = rng.choice((0, 0, rng.uniform(0, LATENESS_SECONDS), rng.uniform(0, 600))) * 1000
            is_ahead = rng.random() < 0.05
            raw = self._event(rng, number, at_ms + (3_600_000 if is_ahead else 0))
            arrivals.append((at_ms + delay, raw))
            # An event that is ahead has another time when it is repeated: search-and-hunt.md.
            if rng.random() < 0.15 and not is_ahead:
                arrivals.append((at_ms + delay + rng.uniform(0, 600_000), raw))
        arrivals.sort(key=lambda arrival: arrival[0])
        while arrivals:
            size = rng.randint(1, 12)
            part, arrivals = arrivals[:size], arrivals[size:]
            raws = [raw for _, raw in part]
            middle = rng.randint(0, len(raws))
            self.batches.append([raws for raws in (raws[:middle], raws[middle:]) if raws])
            time_ms = event.epoch_ms(START) + round(part[-1][0]) + 1
            self.times_ms.append(max([time_ms, *(known + 1 for known in self.times_ms[-1:])]))

    @staticmethod
    def _event(rng: random.Random, number: int, at_ms: int) -> bytes:
        fields: dict[str, Any] = {
            "event_id": f"e{number}", "timestamp": START + dt.timedelta(milliseconds=at_ms),
            "event_type": "user_login", "action_result": rng.choice((*OUTCOMES, "FAILURE", "OTHER")),
        }  # fmt: skip
        for name, values in (
            ("user_id", ("a", "b", "c")),
            ("client_ip", ("192.0.2.1", "192.0.2.2", "192.0.2.3")),
            ("server_hostname", ("web-01", "web-02")),
        ):
            if rng.random() < 0.95:
                fields[name] = rng.choice(values)
        return msgspec.json.encode(fields)


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    writer = ParquetWriter(tmp_path / "files", memory_mebibytes=128, threads=1)
    yield writer
    writer.close()


def test_random_rules_find_the_same_in_a_hunt(
    redis_windows: RedisWindows,
    writer: ParquetWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_hunt, "_SLICE_EVENTS", 15)
    monkeypatch.setattr(archive_hunt, "_MIN_SLICE_US", 1)
    database = SearchDatabase(SearchLimits(), folders=[tmp_path])
    fired: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.integers(0, 2**64), st.booleans())
    def check(number: int, is_merged: bool) -> None:
        # Given live detection, in which the texts of the rules change in the middle of the stream
        rng, seed = random.Random(number), uuid.uuid4()
        drawn, stream = Rules(rng), Stream(rng)
        path = tmp_path / "rules.yml"
        lateness = LATENESS_SECONDS * 1000
        before = load([drawn.write(path, seed, level="low", description="old")], lateness=lateness)
        after = load([drawn.write(path, seed, level="high", description="new")], lateness=lateness)
        live = Live(before, redis_windows)
        for position, (batch, time_ms) in enumerate(
            zip(stream.batches, stream.times_ms, strict=True)
        ):
            if position == len(stream.batches) // 2:
                live.change_rules(after)
            live.process(batch, time_ms=time_ms)
        # when the archived events are hunted with the new rules
        files = write_files(writer, live.rows, is_merged=is_merged)
        for name in drawn.names:
            selected = after.select([str(uuid.uuid5(seed, name))])
            result = archive_hunt.run(
                selected, FileArchive(files), database, since_ms=0, until_ms=END_MS
            )
            # then the identities of the findings are the same
            found = {found.finding_id for found in result.findings}
            assert found == live.found.get(name, set()), (name, number)
            if found:
                fired[kind_of(after, str(uuid.uuid5(seed, name)))] += 1
        for file in files:
            file.unlink()

    (use_seed(int(SEED))(check) if SEED else check)()
    database.close()
    # Each kind of rule fired.
    assert set(fired) >= {"single", "event_count", "value_count", "temporal", "temporal_ordered"}


def kind_of(rules: Any, rule_id: str) -> str:
    (rule,) = [rule for rule in rules.rules if rule.ref.id == rule_id]
    return "single" if rule.window is None else str(rule.window.kind)


def write_files(
    writer: ParquetWriter, parts: Sequence[Sequence[Any]], *, is_merged: bool
) -> list[Path]:
    files = [writer.write(rows).local for rows in reversed(parts)]
    if is_merged:
        merged = writer.merge([str(file) for file in files]).local
        for file in files:
            file.unlink()
        return [merged]
    return files
