"""A hunt in archived events gives exactly the findings of live detection."""

import datetime as dt
import random
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from audit_analysis.hunt.engine import Hunt, HuntedEvent, HuntState
from audit_analysis.service.metrics import Metrics
from audit_analysis.service.pipeline import Pipeline
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.windows.redis_windows import RedisWindows
from auditflow.amqp import Delivery, Message
from auditflow.contract import event, finding

START = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
LATENESS_SECONDS = 60

#: One rule for each way in which a finding can come about.
RULES = (
    "single", "grouped", "event_count", "value_count", "temporal", "temporal_ordered",
    "count_of_findings", "chain",
)  # fmt: skip


def rule_documents(seed: UUID) -> list[dict[str, Any]]:
    """Rules with ids that depend on ``seed``, so that each example has windows of its own."""

    def rule_id(name: str) -> str:
        return str(uuid.uuid5(seed, name))

    def single(name: str, outcome: str, **options: Any) -> dict[str, Any]:
        return {
            "title": name, "name": name, "id": rule_id(name), "status": "test", "level": "high",
            "logsource": {"product": "auditflow", "category": "authentication"},
            "detection": {"own": {"action_result": outcome}, "condition": "own"},
            **options,
        }  # fmt: skip

    def correlation(name: str, kind: str, rules: Sequence[str], **options: Any) -> dict[str, Any]:
        correlated = {
            "type": kind, "rules": list(rules), "group-by": ["user_id"], "timespan": "40s",
            "generate": True, **options,
        }  # fmt: skip
        return {
            "title": name, "name": name, "id": rule_id(name), "status": "test", "level": "high",
            "correlation": correlated, "auditflow": {"dedup": "60s"},
        }  # fmt: skip

    return [
        single("single", "FAILURE"),
        single("success", "SUCCESS"),
        single("grouped", "DENIED", auditflow={"group-by": ["user_id"], "dedup": "60s"}),
        correlation("event_count", "event_count", ["single"], condition={"gte": 3}),
        correlation(
            "value_count", "value_count", ["single"], condition={"gte": 2, "field": "client_ip"}
        ),
        correlation("temporal", "temporal", ["single", "success"]),
        correlation("temporal_ordered", "temporal_ordered", ["single", "success"]),
        correlation(
            "count_of_findings", "event_count", ["event_count"],
            **{"group-by": [], "timespan": "300s", "condition": {"gte": 2}},
        ),
        correlation("chain", "temporal_ordered", ["event_count", "success"], timespan="120s"),
    ]  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[list[bytes]], list[int]]:
    """Batches of events in the order of arrival, and the time at which each batch was received.

    Events arrive shuffled, some twice, some later than the lateness of the windows, and some have
    timestamps in the future.
    """
    rng = random.Random(draw(st.integers(0, 2**32)))
    number_of_events = draw(st.integers(1, 60))
    spread = draw(st.sampled_from([60, 300, 1500]))
    arrivals: list[tuple[float, bytes]] = []
    for number in range(number_of_events):
        seconds = rng.uniform(0, spread)
        # A delay beyond the lateness makes the event late for some windows. The clock of a source
        # may be ahead.
        delay = rng.choice((0, 0, rng.uniform(0, LATENESS_SECONDS), rng.uniform(0, 600)))
        ahead = 3600 if rng.random() < 0.05 else 0
        raw = msgspec.json.encode(
            {
                "event_id": f"e{number}",
                "timestamp": START + dt.timedelta(seconds=seconds + ahead),
                "event_type": "user_login",
                "action_result": rng.choice(("FAILURE", "FAILURE", "SUCCESS", "DENIED", "OTHER")),
                "user_id": rng.choice("ab"),
                "client_ip": rng.choice(("192.0.2.1", "192.0.2.2")),
                "server_hostname": "web-01",
            }
        )
        arrivals.append((seconds + delay, raw))
        # A clamped event that arrives again is another event for live detection, because the
        # limit of its timestamp has moved. The archive contains it once.
        if rng.random() < 0.1 and not ahead:
            arrivals.append((seconds + delay + rng.uniform(0, 600), raw))
    arrivals.sort(key=lambda arrival: arrival[0])
    size = draw(st.integers(1, 9))
    batches = [arrivals[start : start + size] for start in range(0, len(arrivals), size)]
    received = [event.epoch_ms(START + dt.timedelta(seconds=batch[-1][0] + 1)) for batch in batches]
    return [[raw for _, raw in batch] for batch in batches], received


def archive(batches: Sequence[Sequence[bytes]], received: Sequence[int]) -> list[HuntedEvent]:
    """The archive of a stream: each event once, in the order of arrival."""
    archived: dict[bytes, HuntedEvent] = {}
    for batch, received_ms in zip(batches, received, strict=True):
        for raw in batch:
            occurred_ms = event.epoch_ms(event.decode(raw).timestamp)
            occurred_ms = min(occurred_ms, received_ms + 300_000)
            archived.setdefault(raw, HuntedEvent(raw, occurred_ms, received_ms))
    return list(archived.values())


def live_findings(
    rules: RuleSet, windows: RedisWindows, batches: Sequence[Sequence[bytes]], received: list[int]
) -> dict[str, set[UUID]]:
    """The identities that the pipeline publishes, by the title of the rule."""
    found: dict[str, set[UUID]] = {}
    clock = [START]

    def publish(messages: Sequence[Message]) -> Callable[[], None]:
        for message in messages:
            version = finding.decode(message.body, now=START + dt.timedelta(days=1))
            found.setdefault(version.rule.title, set()).add(version.finding_id)
        return lambda: None

    pipeline = Pipeline(
        lambda: rules,
        windows,
        publish,
        environment="test",
        metrics=Metrics(CollectorRegistry()),
        now=lambda: clock[0],
    )
    for batch, received_ms in zip(batches, received, strict=True):
        clock[0] = event.from_epoch_ms(received_ms)
        pipeline([Delivery(raw) for raw in batch])
    return found


def write_rules(folder: Path, seed: UUID) -> Path:
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump_all(rule_documents(seed)))
    return path


def test_a_hunt_finds_what_live_detection_finds(
    redis_windows: RedisWindows, tmp_path: Path
) -> None:
    fired: set[str] = set()

    @settings(max_examples=120, deadline=None)
    @given(streams())
    def check(stream: tuple[list[list[bytes]], list[int]]) -> None:
        # Given a stream that live detection has processed
        seed = uuid.uuid4()
        batches, received = stream
        rules = load([write_rules(tmp_path, seed)], lateness=LATENESS_SECONDS * 1000)
        live = live_findings(rules, redis_windows, batches, received)
        fired.update(live)
        for name in RULES:
            # when each rule is hunted alone in the archive
            rule_id = str(uuid.uuid5(seed, name))
            hunt = Hunt(rules.select([rule_id]))
            archived = archive(batches, received)
            middle = len(archived) // 2
            hunt.process(archived[:middle])
            # (and continued by another process)
            state = msgspec.msgpack.encode(hunt.state())
            hunt = Hunt(rules.select([rule_id]))
            hunt.restore(msgspec.msgpack.decode(state, type=HuntState))
            hunt.process(archived[middle:])
            # then the identities of the findings are the same
            found = {found.finding_id for found in hunt.findings()}
            assert found == live.get(name, set()), name
            assert not hunt.refused

    check()
    # The streams made each rule fire.
    assert fired.issuperset(RULES)


def test_an_event_that_arrived_too_late_is_not_counted(tmp_path: Path) -> None:
    seed = uuid.uuid4()
    rules = load([write_rules(tmp_path, seed)], lateness=LATENESS_SECONDS * 1000)
    rule_id = str(uuid.uuid5(seed, "event_count"))

    def failure(number: int, seconds: int) -> HuntedEvent:
        raw = msgspec.json.encode(
            {
                "event_id": f"e{number}", "timestamp": START + dt.timedelta(seconds=seconds),
                "event_type": "user_login", "action_result": "FAILURE", "user_id": "a",
            }
        )  # fmt: skip
        return HuntedEvent(
            raw, event.epoch_ms(START + dt.timedelta(seconds=seconds)), event.epoch_ms(START)
        )

    in_time = [failure(1, 0), failure(2, 1), failure(3, 2)]
    too_late = [failure(1, 0), failure(2, 1), failure(4, 63), failure(3, 2)]
    for archived, expected in ((in_time, 1), (too_late, 0)):
        hunt = Hunt(rules.select([rule_id]))
        hunt.process(archived)
        assert len(hunt.findings()) == expected


def test_a_staged_rule_makes_findings_in_a_hunt(tmp_path: Path) -> None:
    path = tmp_path / "staged.yml"
    seed = uuid.uuid4()
    staged = [{**document, "status": "experimental"} for document in rule_documents(seed)]
    path.write_text(yaml.safe_dump_all(staged))
    rules = load([path], lateness=LATENESS_SECONDS * 1000)
    raw = b'{"event_id":"e","timestamp":"2026-03-01T12:00:00Z","event_type":"user_login","action_result":"FAILURE"}'
    hunt = Hunt(rules.select([str(uuid.uuid5(seed, "single"))]))
    hunt.process([HuntedEvent(raw, event.epoch_ms(START), event.epoch_ms(START))])
    assert len(hunt.findings()) == 1


def test_refused_events_are_counted_and_do_not_stop_a_hunt(tmp_path: Path) -> None:
    seed = uuid.uuid4()
    rules = load([write_rules(tmp_path, seed)], lateness=0)
    good = b'{"event_id":"e","timestamp":"2026-03-01T12:00:00Z","event_type":"user_login","action_result":"FAILURE"}'
    hunt = Hunt(rules.select([str(uuid.uuid5(seed, "single"))]))
    hunt.process([HuntedEvent(raw, 0, 0) for raw in (b"{", good, b"[]", b'{"event_id":1}')])
    assert (hunt.events, hunt.refused) == (1, 3)
    assert len(hunt.findings()) == 1


@pytest.mark.parametrize("name", RULES)
def test_windows_of_idle_entities_are_removed(name: str, tmp_path: Path) -> None:
    seed = uuid.uuid4()
    rules = load([write_rules(tmp_path, seed)], lateness=0)
    hunt = Hunt(rules.select([str(uuid.uuid5(seed, name))]))
    for day in range(5):
        received = START + dt.timedelta(days=day)
        hunt.process([
            HuntedEvent(
                msgspec.json.encode(
                    {
                        "event_id": f"{day}-{number}", "timestamp": received,
                        "event_type": "user_login", "user_id": f"{day}-{number}",
                        "action_result": ("FAILURE", "SUCCESS", "DENIED")[number % 3],
                    }
                ),
                event.epoch_ms(received),
                event.epoch_ms(received),
            )
            for number in range(30)
        ])  # fmt: skip
    assert hunt.open_windows <= 30
