"""Merging versions of a finding gives the same result for any order, number and grouping."""

import datetime as dt
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw, UnsetType

from auditflow.contract import event_hashes, finding
from auditflow.contract.event import Severity
from auditflow.contract.finding import (
    EventRef,
    Evidence,
    Finding,
    Observables,
    RuleRef,
    merge,
    merge_all,
)
from auditflow.errors import ContractError

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
NOW = NOON + dt.timedelta(hours=1)
NAME = uuid.UUID(int=7)


@st.composite
def versions(draw: st.DrawFn) -> Finding:
    """A version of the same finding, as a worker may have published it."""
    events = draw(st.lists(st.integers(0, 200), min_size=1, max_size=120, unique=True))
    refs = sorted(EventRef(NOON + dt.timedelta(seconds=at), f"e{at}") for at in events)
    documents: dict[str, Raw | UnsetType] = {
        ref.event_id: Raw(msgspec.json.encode({"timestamp": ref.timestamp, "id": ref.event_id}))
        for ref in (refs[0], refs[-1])
    }
    return Finding(
        finding_id=NAME,
        rule=RuleRef(id="r", title="Rule", revision=draw(st.sampled_from("ab")), level="high"),
        severity=draw(st.sampled_from(list(Severity))),
        entity={"user_id": "alice"},
        bucket_start=NOON,
        first_seen=refs[0].timestamp,
        last_seen=refs[-1].timestamp,
        count=len(refs),
        description=f"{len(refs)} events",
        evidence=Evidence(
            tuple(refs[: finding.MAX_EVIDENCE]),
            draw(st.sampled_from((documents[refs[0].event_id], UNSET))),
            draw(st.sampled_from((documents[refs[-1].event_id], UNSET))),
            event_hashes.of_events(ref.event_id for ref in refs) if draw(st.booleans()) else "",
        ),
        observables=Observables(users=tuple(sorted(draw(st.sets(st.sampled_from("abcde")))))),
        actor=draw(st.sampled_from(["alice", None])),
        correlation_id=draw(st.sampled_from(["c1", "c22", None])),
        approximate=draw(st.booleans()),
        clamped=draw(st.booleans()),
        retro=draw(st.booleans()),
    )


def encoded(version: Finding) -> bytes:
    return finding.encode(version)


@given(versions(), versions())
def test_merge_is_commutative(a: Finding, b: Finding) -> None:
    assert encoded(merge(a, b)) == encoded(merge(b, a))


@given(versions(), versions(), versions())
def test_merge_is_associative(a: Finding, b: Finding, c: Finding) -> None:
    assert encoded(merge(merge(a, b), c)) == encoded(merge(a, merge(b, c)))


@given(versions())
def test_merge_is_idempotent(a: Finding) -> None:
    assert encoded(merge(a, a)) == encoded(a)


@given(st.lists(versions(), min_size=1, max_size=6), st.randoms())
def test_any_order_of_any_number_gives_the_same(seen: list[Finding], random: object) -> None:
    again = seen + seen[:2]
    random.shuffle(again)  # type: ignore[attr-defined]
    (merged,) = merge_all(seen).values()
    (other,) = merge_all(again).values()
    assert encoded(merged) == encoded(other)


def test_the_sentence_is_that_of_the_version_that_counted_most() -> None:
    def version(count: int) -> Finding:
        ref = EventRef(NOON, "e")
        return Finding(
            finding_id=NAME, rule=RuleRef("r", "R", "1", "low"), severity=Severity.INFO,
            entity={}, bucket_start=NOON, first_seen=NOON, last_seen=NOON, count=count,
            description=f"{count} of them", evidence=Evidence((ref,)),
            correlation_id="x" * (20 - count),
        )  # fmt: skip

    merged = merge_all([version(9), version(10), version(3)])[NAME]
    assert (merged.count, merged.description) == (10, "10 of them")


def test_two_findings_do_not_merge() -> None:
    first = sample()
    other = msgspec.structs.replace(first, finding_id=uuid.UUID(int=8))
    with pytest.raises(ValueError, match="two findings"):
        merge(first, other)


def sample(**changes: object) -> Finding:
    complete = Finding(
        finding_id=NAME,
        rule=RuleRef(id="r", title="Rule", revision="1", level="high"),
        severity=Severity.CRITICAL,
        entity={"user_id": "alice"},
        bucket_start=NOON,
        first_seen=NOON,
        last_seen=NOON,
        count=1,
        description="one",
        evidence=Evidence((EventRef(NOON, "e"),)),
    )
    return msgspec.structs.replace(complete, **changes)


REFUSED = {
    "an id that is no UUID": (finding.encode(sample()).replace(str(NAME).encode(), b"x"), "UUID"),
    "the far future": (finding.encode(sample(last_seen=NOON + dt.timedelta(days=9))), "ahead"),
    "an end before its beginning": (
        finding.encode(sample(first_seen=NOON + dt.timedelta(seconds=1))),
        "first_seen",
    ),
    "no events": (finding.encode(sample(evidence=Evidence(()))), "evidence"),
    "a count of nothing": (finding.encode(sample(count=0)), "count"),
    "an array": (b"[]", "Expected `object`"),
    "a surrogate in the whole event": (
        finding.encode(
            sample(evidence=Evidence((EventRef(NOON, "e"),), Raw(b'{"a":"\\ud800"}'), UNSET))
        ),
        "malformed|truncated",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    document, reason = REFUSED[name]
    with pytest.raises(ContractError, match=reason):
        finding.decode(document, now=NOW)


def test_what_is_encoded_is_decoded() -> None:
    assert finding.decode(finding.encode(sample()), now=NOW) == sample()


def test_a_merge_takes_the_earliest_start_the_latest_end_and_the_largest_count() -> None:
    # given two versions of a finding that overlap
    second = dt.timedelta(seconds=1)

    def version(first: int, last: int) -> Finding:
        events = tuple(EventRef(NOON + at * second, f"e{at}") for at in range(first, last + 1))
        return Finding(
            finding_id=NAME,
            rule=RuleRef(id="r", title="Rule", revision="a", level="high"),
            severity=Severity.WARNING,
            entity={"user_id": "alice"},
            bucket_start=NOON,
            first_seen=NOON + first * second,
            last_seen=NOON + last * second,
            count=len(events),
            description="events",
            evidence=Evidence(events),
        )

    earlier, later = version(1, 3), version(2, 6)
    for merged in (merge(earlier, later), merge(later, earlier)):
        assert merged.first_seen == NOON + 1 * second
        assert merged.last_seen == NOON + 6 * second
        assert merged.count == 5


@given(versions())
def test_a_merged_finding_is_clamped_if_one_version_is(version: Finding) -> None:
    at_limit = msgspec.structs.replace(version, clamped=True, count=version.count + 1)
    before_limit = msgspec.structs.replace(version, clamped=False)

    assert merge(before_limit, at_limit).clamped
    assert merge(at_limit, before_limit).clamped
    older = msgspec.structs.replace(at_limit, count=before_limit.count - 1 or 1)
    assert merge(before_limit, older).clamped


@given(versions())
def test_a_merged_finding_is_retro_if_all_versions_are(version: Finding) -> None:
    hunted = msgspec.structs.replace(version, retro=True)
    live = msgspec.structs.replace(version, retro=False, count=version.count + 1)

    assert not merge(hunted, live).retro
    assert not merge(live, hunted).retro
    assert merge(hunted, msgspec.structs.replace(hunted, count=version.count + 1)).retro


def test_a_finding_is_not_clamped_by_default() -> None:
    made = Finding(
        finding_id=NAME,
        rule=RuleRef(id="r", title="Rule", revision="a", level="high"),
        severity=Severity.INFO,
        entity={},
        bucket_start=NOON,
        first_seen=NOON,
        last_seen=NOON,
        count=1,
        description="1 event",
        evidence=Evidence(()),
    )

    assert not made.clamped
    assert not made.approximate
