"""The streams of the benchmark have the properties that docs/benchmarks.md states."""

from collections import Counter, defaultdict
from typing import Any

import msgspec
import pytest

from auditflow.contract import event

from .bench import streams

NUMBER = 20_000


def decoded(stream: streams.Stream) -> list[dict[str, Any]]:
    return [msgspec.json.decode(body) for body in stream.generate(NUMBER, "test").bodies]


@pytest.mark.parametrize("stream", streams.STREAMS.values(), ids=lambda stream: stream.name)
def test_every_event_is_valid_and_has_its_own_id(stream: streams.Stream) -> None:
    batch = stream.generate(2000, "test")
    events = [event.decode(body) for body in batch.bodies]
    assert len({item.event_id for item in events}) == len(events) == 2000
    assert batch.alerts > 0 or stream is streams.KUBERNETES


def test_the_login_stream_has_the_measured_properties() -> None:
    batch = streams.LOGINS.generate(NUMBER, "test")
    events = [msgspec.json.decode(body) for body in batch.bodies]

    # events of 419 bytes, 41 % logins
    assert {len(body) for body in batch.bodies} == {streams.EVENT_BYTES}
    logins = [item for item in events if item["event_type"] == "user_login"]
    assert len(logins) / NUMBER == pytest.approx(0.41, abs=0.02)

    # each user has an address of its own
    addresses = defaultdict(set)
    for item in events:
        addresses[item["client_ip"]].add(item["user_id"])
    assert all(len(users) == 1 for users in addresses.values())

    # 5 % of the draws alert: half by a sensitive file, half by three failed logins of one user
    failures = Counter(
        (item["user_id"], item["server_hostname"])
        for item in logins
        if item["action_result"] == "FAILURE"
    )
    attacks = [user for user, count in failures.items() if count == 3]
    files = [item for item in events if item.get("resource") == "/etc/passwd"]
    assert set(failures.values()) == {1, 3}
    assert len(attacks) + len(files) == batch.alerts
    assert len(attacks) == pytest.approx(len(files), rel=0.15)
    assert batch.alerts / (NUMBER - 2 * len(attacks)) == pytest.approx(0.05, abs=0.005)


def test_three_failed_logins_are_within_a_minute() -> None:
    times = defaultdict(list)
    for item in decoded(streams.LOGINS):
        if item["action_result"] == "FAILURE":
            times[item["user_id"]].append(item["timestamp"])
    spans = [event_times for event_times in times.values() if len(event_times) == 3]
    seconds = [
        (
            msgspec.convert(max(group), type=event.Timestamp)
            - msgspec.convert(min(group), type=event.Timestamp)
        ).total_seconds()
        for group in spans
    ]
    assert seconds
    assert max(seconds) < 60


def test_the_quiet_stream_alerts_rarely() -> None:
    batch = streams.QUIET.generate(NUMBER, "test")
    assert batch.alerts / NUMBER == pytest.approx(0.002, abs=0.001)


def test_a_prefix_gives_the_same_events_without_their_times() -> None:
    def untimed(prefix: str) -> list[dict[str, Any]]:
        bodies = streams.LOGINS.generate(500, prefix).bodies
        return [{**msgspec.json.decode(body), "timestamp": None} for body in bodies]

    assert untimed("a1-x") == untimed("a1-x")
    assert untimed("a1-x") != untimed("a1-y")
