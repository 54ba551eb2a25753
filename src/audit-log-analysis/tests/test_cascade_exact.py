"""Windows that feed windows: the same events give the same findings, whatever happens on the way."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_analysis.correlation import cascade, findings
from audit_analysis.correlation.cascade import RuleObservation
from audit_analysis.sigma.rule import Link, Rule, RuleSet
from audit_analysis.windows import Observation, ObservationResult, WindowSpec, WindowStore
from audit_analysis.windows.memory import MemoryWindows
from audit_analysis.windows.redis_windows import RedisWindows
from audit_analysis.windows.spec import Kind
from auditflow.contract import identity
from auditflow.contract.event import Severity
from auditflow.contract.finding import RuleRef
from auditflow.errors import Unavailable

LATENESS = 40

#: How a time becomes a hit: (end, members as (time, id, tag), spec) to whether it is one.
IsHit = Callable[[int, set[tuple[int, str, str]], WindowSpec], bool]


class Seen(NamedTuple):
    """An event: a failure ("fail") or a success ("pass") of a user on a host."""

    timestamp_ms: int
    name: str
    what: str
    user: str
    host: str


class Chain(NamedTuple):
    """Failures of a user on a host; these and successes of a user; and that of everybody."""

    inner: WindowSpec
    middle: WindowSpec
    outer: WindowSpec
    how: str


def rule(title: str, spec: WindowSpec, depth: int, seed: uuid.UUID) -> Rule:
    name = str(uuid.uuid5(seed, title))
    ref = RuleRef(id=name, title=title, revision="1", level="high")
    return Rule(ref=ref, severity=Severity.CRITICAL, sentence="", window=spec, depth=depth)


def built(chain: Chain) -> tuple[Rule, Rule, Rule, RuleSet]:
    seed = uuid.uuid4()
    inner = rule("inner", chain.inner, 0, seed)
    middle = rule("middle", chain.middle, 1, seed)
    outer = rule("outer", chain.outer, 2, seed)
    by = {"stage": "1"} if chain.how.startswith("temporal") else {}
    counted = "host" if chain.how == "value_count" else None
    links = {
        inner.ref.id: [
            Link(rule=middle, group_by={"who": "user"}, stage=by.get("stage", ""), counted=counted)
        ],
        middle.ref.id: [Link(rule=outer, group_by={})],
    }
    return inner, middle, outer, RuleSet([], links=links)


def tag_of_success(chain: Chain, seen: Seen) -> str:
    """The tag of a success in the middle window."""
    return {"event_count": seen.name, "value_count": seen.host}.get(chain.how, "2")


def specs(kind: Kind, *, most: int, feeds: bool) -> st.SearchStrategy[WindowSpec]:
    return st.builds(
        WindowSpec,
        kind=st.just(kind),
        threshold=st.just(2) if kind.startswith("temporal") else st.integers(1, most),
        timespan=st.integers(1, 40),
        dedup=st.integers(5, 60),
        lateness=st.just(LATENESS),
        feeds=st.just(feeds),
    )


@st.composite
def chained(draw: st.DrawFn, how: str) -> Chain:
    kinds: dict[str, Kind] = {"event_count": "value_count", "value_count": "value_count"}
    middle: Kind = kinds.get(how, "temporal" if how == "temporal" else "temporal_ordered")
    return Chain(
        draw(specs("event_count", most=3, feeds=True)),
        draw(specs(middle, most=2, feeds=True)),
        draw(specs("value_count", most=2, feeds=False)),
        how,
    )


events = st.lists(
    st.tuples(
        st.integers(0, 150),
        st.sampled_from(["fail", "fail", "pass"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["x", "y"]),
    ),
    min_size=1,
    max_size=25,
)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Seen]:
    """Events in an order within the lateness bound, some of them more than once."""
    seen = [
        Seen(timestamp_ms, f"e{number}", *rest)
        for number, (timestamp_ms, *rest) in enumerate(draw(events))
    ]  # fmt: skip
    delays = draw(st.lists(st.integers(0, LATENESS), min_size=len(seen), max_size=len(seen)))
    late = sorted(
        zip(seen, delays, strict=True), key=lambda arrival: arrival[0].timestamp_ms + arrival[1]
    )
    order = [event for event, _ in late]
    for event in draw(st.lists(st.sampled_from(order), max_size=5)):
        order.insert(draw(st.integers(order.index(event) + 1, len(order))), event)
    return order


class Dying:
    """A store of windows, in a worker that fails before or after given calls."""

    def __init__(self, store: WindowStore, deaths: Sequence[int]) -> None:
        self._keeper = store
        self._deaths = set(deaths)
        self._trips = 0

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        self._trips += 1
        if self._trips in self._deaths:
            raise Unavailable("worker", "failed before the call")
        results = self._keeper.observe(observations)
        if -self._trips in self._deaths:
            raise Unavailable("worker", "failed after the call")
        return results

    def mark_published(self, summaries: object) -> None:
        raise AssertionError("not here")


def through(
    store: Dying, chain: Chain, rules: tuple[Rule, Rule, Rule, RuleSet], batch: Sequence[Seen]
) -> Iterator[tuple[str, str, int, int, int, tuple[int, str], tuple[int, str]]]:
    """The summaries of a batch: rule, entity, bucket, last hit, count, first and last event."""
    inner, middle, _, ruleset = rules
    counted: list[RuleObservation[Seen]] = []
    for event in batch:
        failed = event.what == "fail"
        which = inner if failed else middle
        entity = {"user": event.user, "host": event.host} if failed else {"who": event.user}
        assert which.window is not None
        tag = "" if failed else tag_of_success(chain, event)
        observation = Observation(
            which.window,
            findings.window_key(which, entity),
            event.name,
            event.timestamp_ms,
            b"raw",
            tag,
        )
        counted.append(RuleObservation(which, entity, observation, event))
    for part, result in cascade.observe(cast(WindowStore, store), ruleset, counted):
        for it in result.summaries:
            yield (
                part.rule.ref.title, str(sorted(part.entity.items())), it.bucket, it.last_hit,
                it.count, it.events[0], it.last_event,
            )  # fmt: skip


#: Timestamp, name and tag of each member, by entity.
Members = dict[tuple[tuple[str, str], ...], set[tuple[int, str, str]]]


def expected(
    chain: Chain, seen: set[Seen], rules: tuple[Rule, Rule, Rule, RuleSet], is_hit: IsHit
) -> dict[tuple[str, str, int], tuple[int, int, tuple[int, str], tuple[int, str]]]:
    """The definition, level by level."""
    found = {}

    def level(
        which: Rule,
        spec: WindowSpec,
        sets: Members,
    ) -> Iterator[tuple[dict[str, str], int, str]]:
        """The entity, time and id of all events that stand at hits."""
        for entity, members in sets.items():
            hits = sorted({m[0] for m in members if is_hit(m[0], members, spec)})
            for bucket in {hit // spec.dedup for hit in hits}:
                own = [hit for hit in hits if hit // spec.dedup == bucket]
                within = sorted(
                    (m[0], m[1]) for m in members if own[0] - spec.timespan < m[0] <= own[-1]
                )
                found[which.ref.title, str(list(entity)), bucket] = (
                    own[-1], len(within), within[0], within[-1],
                )  # fmt: skip
            for timestamp_ms, name in {m[:2] for m in members if m[0] in hits}:
                yield dict(entity), timestamp_ms, name

    inner, middle, outer, _ = rules
    failures: Members = defaultdict(set)
    for event in seen:
        if event.what == "fail":
            entity = (("host", event.host), ("user", event.user))
            failures[entity].add((event.timestamp_ms, event.name, ""))
    mixed: Members = defaultdict(set)
    for event in seen:
        if event.what == "pass":
            mixed[("who", event.user),].add(
                (event.timestamp_ms, event.name, tag_of_success(chain, event))
            )
    for who, timestamp_ms, name in level(inner, chain.inner, failures):
        finding = identity.finding_id(inner.ref.id, who, timestamp_ms // chain.inner.dedup)
        tag = {"event_count": str(finding), "value_count": who["host"]}.get(chain.how, "1")
        mixed[("who", who["user"]),].add((timestamp_ms, name, tag))
    everybody: Members = defaultdict(set)
    for who, timestamp_ms, name in level(middle, chain.middle, mixed):
        finding = identity.finding_id(middle.ref.id, who, timestamp_ms // chain.middle.dedup)
        everybody[()].add((timestamp_ms, name, str(finding)))
    list(level(outer, chain.outer, everybody))
    return found


def batches(order: Sequence[Seen], size: int) -> Iterator[list[Seen]]:
    """Divide events into batches. Times in a batch differ by at most the lateness bound."""
    part: list[Seen] = []
    for event in order:
        timestamps = [event.timestamp_ms, *(it.timestamp_ms for it in part)]
        if len(part) == size or max(timestamps) - min(timestamps) > LATENESS:
            yield part
            part = []
        part.append(event)
    yield part


def check_chain(
    store: WindowStore,
    chain: Chain,
    order: list[Seen],
    deaths: Sequence[int],
    batch: int,
    is_hit: IsHit,
) -> None:
    rules, dying = built(chain), Dying(store, deaths)
    versions = defaultdict[tuple[str, str, int], list[Any]](list)
    for part in batches(order, batch):
        while True:
            try:
                findings = list(through(dying, chain, rules, part))
            except Unavailable:
                continue  # the broker gives the batch to another worker
            break
        for title, entity, bucket, *rest in findings:
            versions[title, entity, bucket].append(tuple(rest))
    merged = {
        key: (
            max(version[0] for version in known), max(version[1] for version in known),
            min(version[2] for version in known), max(version[3] for version in known),
        )
        for key, known in versions.items()
    }  # fmt: skip
    assert merged == expected(chain, set(order), rules, is_hit)


HOW = ("event_count", "value_count", "temporal", "temporal_ordered")
deaths = st.lists(st.integers(-12, 12), max_size=4)


@pytest.mark.parametrize("how", HOW)
def test_cascades_in_memory_equal_the_definition(how: str, is_hit: IsHit) -> None:
    @settings(max_examples=60, deadline=None)
    @given(chained(how), arrivals(), deaths, st.integers(1, 6))
    def check(chain: Chain, order: list[Seen], dead: list[int], batch: int) -> None:
        check_chain(MemoryWindows(), chain, order, dead, batch, is_hit)

    check()


@pytest.mark.parametrize("how", HOW)
def test_cascades_in_redis_equal_the_definition(
    how: str, is_hit: IsHit, redis_windows: RedisWindows
) -> None:
    @settings(max_examples=40, deadline=None)
    @given(chained(how), arrivals(), deaths, st.integers(1, 6))
    def check(chain: Chain, order: list[Seen], dead: list[int], batch: int) -> None:
        check_chain(redis_windows, chain, order, dead, batch, is_hit)

    check()
