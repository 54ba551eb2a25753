"""The published contract of findings: exact limits, the encoding, and what a merge keeps."""

import datetime as dt
import uuid
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Raw

from auditflow.contract import event_hashes, finding
from auditflow.contract.event import Severity
from auditflow.contract.finding import EventRef, Evidence, Finding, Observables, RuleRef, merge
from auditflow.errors import ContractError

from .hostile import body

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
DAY = dt.timedelta(days=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def refs(*numbers: int) -> tuple[EventRef, ...]:
    return tuple(EventRef(NOON + number * SECOND, f"e{number:06}") for number in numbers)


def sample(**changes: Any) -> Finding:
    minimal = Finding(
        finding_id=uuid.UUID(int=7),
        rule=RuleRef(id="r", title="Rule", revision="1", level="high"),
        severity=Severity.CRITICAL,
        entity={"user_id": "alice"},
        bucket_start=NOON,
        first_seen=NOON,
        last_seen=NOON,
        count=1,
        description="text",
        evidence=Evidence(refs(0)),
    )
    return msgspec.structs.replace(minimal, **changes)


def decoded(**changes: Any) -> Finding:
    return finding.decode(finding.encode(sample(**changes)), now=NOON)


def nested(levels: int) -> Raw:
    """An event with this depth."""
    return Raw(body(details={"a": Raw(b"[" * (levels - 2) + b"]" * (levels - 2))}))


def padded(size: int) -> bytes:
    """A finding of ``size`` bytes."""
    length = size - len(finding.encode(sample(description="")))
    return finding.encode(sample(description="x" * length))


def test_the_encoding_of_a_finding_is_a_public_contract() -> None:
    """A field with its default is not sent."""
    assert finding.encode(sample()) == (
        b'{"finding_id":"00000000-0000-0000-0000-000000000007",'
        b'"rule":{"id":"r","title":"Rule","revision":"1","level":"high"},'
        b'"severity":"CRITICAL","entity":{"user_id":"alice"},'
        b'"bucket_start":"2026-01-01T12:00:00Z","first_seen":"2026-01-01T12:00:00Z",'
        b'"last_seen":"2026-01-01T12:00:00Z","count":1,"description":"text",'
        b'"evidence":{"events":[{"timestamp":"2026-01-01T12:00:00Z","event_id":"e000000"}]}}'
    )
    assert b'"observables":{"users":["bob"]}' in finding.encode(
        sample(observables=Observables(users=("bob",)))
    )
    assert (sample().approximate, sample().environment) == (False, "local")


def evidence(**changes: Any) -> dict[str, Any]:
    return {"evidence": msgspec.structs.replace(Evidence(refs(0)), **changes)}


def times(first: dt.datetime, last: dt.datetime) -> dict[str, Any]:
    return {"bucket_start": last, "first_seen": first, "last_seen": last}


LARGEST_SET = event_hashes.of_events(f"event-{number}" for number in range(10_001))


@pytest.mark.parametrize(
    ("accepted", "refused", "reason"),
    [
        (evidence(events=refs(*range(100))), evidence(events=refs(*range(101))), "evidence.events"),
        (evidence(first_event=nested(32)), evidence(first_event=nested(33)), "nested deeper"),
        (evidence(last_event=nested(32)), evidence(last_event=nested(33)), "nested deeper"),
        (
            evidence(first_event=Raw(b'{"n":1e9}')),
            evidence(first_event=Raw(b'{"n":1e999}')),
            "range",
        ),
        (evidence(last_event=Raw(b'{"n":1e9}')), evidence(last_event=Raw(b'{"n":1e999}')), "range"),
        (
            evidence(event_hashes=LARGEST_SET),
            evidence(event_hashes=LARGEST_SET + "f" * 16),
            "event_hashes",
        ),
        (evidence(event_hashes="0" * 32), evidence(event_hashes="0" * 31), "event_hashes"),
        (
            {"observables": Observables(hosts=tuple(map(str, range(1000))))},
            {"observables": Observables(hosts=tuple(map(str, range(1001))))},
            "observables.hosts",
        ),
        (
            {"observables": Observables(users=("x" * 500,))},
            {"observables": Observables(users=("x" * 501,))},
            "observables.users",
        ),
        (
            {"observables": Observables(users=("x",))},
            {"observables": Observables(users=("",))},
            "observables.users",
        ),
        (times(NOON, NOON + DAY), times(NOON, NOON + DAY + SECOND), "ahead"),
        ({"bucket_start": NOON + DAY}, {"bucket_start": NOON + DAY + SECOND}, "ahead"),
        (times(EPOCH, NOON), times(EPOCH - SECOND, NOON), "first_seen is before 1970"),
        # A bucket starts before its first event, by at most the longest dedup period: a year.
        (
            {"bucket_start": EPOCH - 366 * DAY},
            {"bucket_start": EPOCH - 366 * DAY - SECOND},
            "bucket_start is before 1970",
        ),
        ({"count": 2**53}, {"count": 2**53 + 1}, "count"),
    ],
)
def test_the_limits_of_a_finding_are_exact(
    accepted: dict[str, Any], refused: dict[str, Any], reason: str
) -> None:
    assert decoded(**accepted) == sample(**accepted)
    with pytest.raises(ContractError, match=reason):
        decoded(**refused)


def test_a_finding_has_at_most_one_mebibyte() -> None:
    assert finding.decode(padded(1_048_576), now=NOON).description
    with pytest.raises(ContractError, match="1048577 bytes are more than the 1048576 allowed"):
        finding.decode(padded(1_048_577), now=NOON)


@pytest.mark.parametrize("field", ["first_event", "last_event"])
@pytest.mark.parametrize("text", [b"\\ud800", b"\\ud800x", b"\\udc00\\ud800", b"\\u0000"])
def test_a_complete_event_that_no_client_can_read_is_refused(field: str, text: bytes) -> None:
    with pytest.raises(ContractError, match=r"malformed|truncated|NUL"):
        decoded(**evidence(**{field: Raw(b'{"a":"' + text + b'"}')}))


def merged(first: Finding, second: Finding) -> Finding:
    """The merge, which does not depend on the order."""
    result = merge(first, second)
    assert finding.encode(result) == finding.encode(merge(second, first))
    return result


def test_a_merge_keeps_the_highest_severity_the_earliest_bucket_and_the_approximation() -> None:
    first = sample(severity=Severity.CRITICAL, bucket_start=NOON, approximate=True)
    second = sample(severity=Severity.INFO, bucket_start=NOON - SECOND, count=2)
    result = merged(first, second)
    assert (result.severity, result.bucket_start) == (Severity.CRITICAL, NOON - SECOND)
    assert result.approximate
    assert not merged(sample(), sample(count=2)).approximate


def test_a_merge_keeps_the_hundred_earliest_references_and_the_hashes_of_all_events() -> None:
    # given two versions that name 150 events together
    even, odd = refs(*range(0, 200, 2)), refs(*range(1, 100, 2))
    result = merged(sample(evidence=Evidence(even)), sample(evidence=Evidence(odd)))
    # then the references are the earliest, and the hashes are those of all events
    assert result.evidence.events == refs(*range(100))
    assert result.evidence.event_hashes == event_hashes.of_events(
        ref.event_id for ref in (*even, *odd)
    )


def test_a_merge_of_at_most_a_hundred_events_needs_no_hashes() -> None:
    def of(*numbers: int) -> Finding:
        return sample(evidence=Evidence(refs(*numbers)))

    assert merged(of(*range(99)), of(99)).evidence.event_hashes == ""
    assert len(merged(of(*range(100)), of(100)).evidence.event_hashes) == 16 * 101


def test_a_merge_keeps_the_hashes_of_a_version_that_has_them() -> None:
    hashes = event_hashes.of_events(["other", "e000000"])
    result = merged(
        sample(evidence=Evidence(refs(0), event_hashes=hashes)), sample(evidence=Evidence(refs(1)))
    )
    assert result.evidence.event_hashes == event_hashes.of_events(["other", "e000000", "e000001"])


def test_a_merge_keeps_the_first_and_the_last_complete_event() -> None:
    def complete(second: int) -> Raw:
        return Raw(msgspec.json.encode({"timestamp": NOON + second * SECOND}))

    def version(first: int, last: int) -> Finding:
        return sample(evidence=Evidence(refs(0), complete(first), complete(last)))

    result = merged(version(1, 3), version(2, 4)).evidence
    assert (result.first_event, result.last_event) == (complete(1), complete(4))
    # a version without complete events changes nothing, and an event without a time is the earliest
    result = merged(version(1, 3), sample(count=2)).evidence
    assert (result.first_event, result.last_event) == (complete(1), complete(3))
    unreadable = sample(evidence=Evidence(refs(0), Raw(b"{}"), Raw(b"{}")))
    result = merged(version(1, 3), unreadable).evidence
    assert (result.first_event, result.last_event) == (Raw(b"{}"), complete(3))
    assert merged(sample(), sample(count=2)).evidence.first_event is UNSET


def test_a_merge_keeps_the_first_thousand_values_of_each_kind_of_observable() -> None:
    first = Observables(users=tuple(f"{number:04}" for number in range(0, 1200, 2)), hosts=("b",))
    second = Observables(users=tuple(f"{number:04}" for number in range(1, 1200, 2)), hosts=("a",))
    result = merged(sample(observables=first), sample(observables=second)).observables
    assert result.users == tuple(f"{number:04}" for number in range(1000))
    assert (result.hosts, result.addresses) == (("a", "b"), ())


def test_the_texts_are_those_of_the_later_version() -> None:
    earlier = sample(description="b", actor="b", count=9)
    later = sample(description="a", actor="a", last_seen=NOON + SECOND)
    assert (merged(earlier, later).description, merged(earlier, later).actor) == ("a", "a")
