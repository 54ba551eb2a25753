"""Aggregation without a database: in any order, the same findings make the same alerts."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from auditflow.contract import event_hashes, identity
from auditflow.contract import finding as findings
from auditflow.contract.alert import Status
from auditflow.contract.event import Severity
from auditflow.contract.finding import EventRef, Evidence, Finding, RuleRef
from notification_service import alert as alerts
from notification_service.aggregation import Changes, StoredFinding, aggregate, fingerprint_of
from notification_service.alert import Alert

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


class Memory:
    """The contents of the tables, read and written as the adapter does."""

    def __init__(self) -> None:
        self.findings: dict[Any, StoredFinding] = {}
        self.alerts: dict[Any, Alert] = {}
        self.writes = 0

    def take(self, batch: Sequence[Finding], *, now: dt.datetime = NOW) -> Changes:
        merged = findings.merge_all(batch)
        stored = {key: self.findings[key] for key in merged if key in self.findings}
        wanted = {fingerprint_of(finding) for finding in merged.values()}
        named = {finding.alert_id for finding in stored.values()}
        existing = [
            alert
            for alert in self.alerts.values()
            if alert.alert_id in named
            or (
                alert.fingerprint in wanted and (alert.status != "resolved" or self._is_last(alert))
            )
        ]
        changes = aggregate(merged.values(), stored=stored, existing=existing, now=now)
        for finding in (*changes.new, *changes.updated):
            self.findings[finding.finding.finding_id] = finding
        for alert in (*changes.opened, *changes.changed):
            self.alerts[alert.alert_id] = alert
        self.writes += len(changes.new) + len(changes.updated) + len(changes.changed)
        return changes

    def resolve(self, alert: Alert) -> None:
        self.alerts[alert.alert_id] = msgspec.structs.replace(alert, status=Status.RESOLVED)

    def _is_last(self, alert: Alert) -> bool:
        same = (it for it in self.alerts.values() if it.fingerprint == alert.fingerprint)
        return alert.sequence == max(it.sequence for it in same)

    def sums(self) -> dict[Any, Alert]:
        """The alerts, without the fields that depend on the time and number of writes."""
        return {
            key: msgspec.structs.replace(alert, opened_at=NOW, updated_at=NOW, version=1)
            for key, alert in self.alerts.items()
        }


times = st.integers(0, 7200).map(lambda second: NOW - dt.timedelta(seconds=second))


@st.composite
def versions(draw: st.DrawFn) -> Finding:
    """A version of one of a few findings: what different workers knew at different times."""
    user, bucket = draw(st.sampled_from("abc")), draw(st.integers(0, 2))
    first, last = sorted((draw(times), draw(times)))
    count = draw(st.integers(1, 12))
    raw: Any = msgspec.Raw(msgspec.json.encode({"event_id": user, "timestamp": last, "n": count}))
    return Finding(
        finding_id=identity.finding_id("rule", {"user": user}, bucket),
        rule=RuleRef("rule", draw(st.sampled_from(("Old", "New"))), "1", "high"),
        severity=draw(st.sampled_from(Severity)),
        entity={"user": user},
        bucket_start=draw(times),
        first_seen=first,
        last_seen=last,
        count=count,
        description=f"{count} logins",
        evidence=Evidence(
            events=tuple(sorted({EventRef(first, "x"), EventRef(last, str(count))})),
            first_event=draw(st.sampled_from((msgspec.UNSET, raw))),
            last_event=draw(st.sampled_from((msgspec.UNSET, raw))),
        ),
        actor=draw(st.sampled_from((None, user))),
        client_ip=draw(st.sampled_from((None, "192.0.2.1", "198.51.100.2"))),
        approximate=draw(st.booleans()),
        clamped=draw(st.booleans()),
        retro=draw(st.booleans()),
    )


streams = st.lists(versions(), min_size=1, max_size=14)


@given(streams, st.data())
def test_order_duplication_and_batching_change_nothing(
    stream: list[Finding], data: st.DataObject
) -> None:
    # given the findings folded all at once
    once = Memory()
    once.take(stream)

    # when they come in another order, some twice, in batches of any size
    again = data.draw(st.lists(st.sampled_from(stream), max_size=6))
    shuffled = data.draw(st.permutations([*stream, *again]))
    pieces = Memory()
    while shuffled:
        size = data.draw(st.integers(1, len(shuffled)))
        pieces.take(shuffled[:size])
        shuffled = shuffled[size:]

    # then the same is stored, under the same identifiers
    assert pieces.findings == once.findings
    assert pieces.sums() == once.sums()


@given(streams, st.data())
def test_an_alert_is_the_sum_of_its_findings(stream: list[Finding], data: st.DataObject) -> None:
    # given people who resolve alerts while findings arrive
    memory = Memory()
    for finding in stream:
        memory.take([finding])
        if data.draw(st.booleans()):
            memory.resolve(data.draw(st.sampled_from(sorted(memory.alerts.values(), key=str))))

    for alert in memory.alerts.values():
        # then each alert is exactly the sum of its own findings
        own = [
            stored.finding
            for stored in memory.findings.values()
            if stored.alert_id == alert.alert_id
        ]
        newest = max(own, key=lambda finding: (finding.last_seen, finding.finding_id))
        assert alert.finding_count == len(own)
        named = {ref.event_id for finding in own for ref in finding.evidence.events}
        unlisted = sum(
            max(0, finding.count - len({ref.event_id for ref in finding.evidence.events}))
            for finding in own
        )
        assert alert.count == len(named) + unlisted
        assert alert.count_is_estimate == (unlisted > 0)
        assert alert.level == "high"
        assert alert.severity == "WARNING"
        assert alert.first_seen == min(finding.first_seen for finding in own)
        assert (alert.last_seen, alert.newest_finding_id) == (
            newest.last_seen,
            newest.finding_id,
        )
        assert alert.approximate == any(finding.approximate for finding in own)
        assert alert.clamped == any(finding.clamped for finding in own)
        assert alert.retro == all(finding.retro for finding in own)
        assert (alert.description, alert.actor) == (newest.description, newest.actor)
        assert alert.title == newest.rule.title
    for fingerprint in {alert.fingerprint for alert in memory.alerts.values()}:
        # and each fingerprint has one sequence of alerts, of which only the last may be unresolved
        chain = sorted(
            (alert for alert in memory.alerts.values() if alert.fingerprint == fingerprint),
            key=lambda alert: alert.sequence,
        )
        assert [alert.sequence for alert in chain] == list(range(1, len(chain) + 1))
        assert all(alert.status is Status.RESOLVED for alert in chain[:-1])
        before = [None, *(alert.alert_id for alert in chain)]
        assert [alert.previous_alert_id for alert in chain] == before[:-1]


@st.composite
def overlapping(draw: st.DrawFn) -> tuple[int, list[Finding]]:
    """Versions of findings with up to 600 events, which overlap, and the number of all events.

    Each version names the first 100 events and lists the events that earlier versions do not have,
    as the analysis does.
    """
    versions: list[Finding] = []
    events: set[int] = set()
    for bucket in range(draw(st.integers(1, 3))):
        first = bucket * 150
        listed, last = first, first
        for size in draw(st.lists(st.integers(1, 250), min_size=1, max_size=3)):
            last = min(last + size, first + 600)
            names = [f"event-{number}" for number in range(first, last)]
            hashes = "" if len(names) <= 100 else event_hashes.of_events(names[listed - first :])
            refs = tuple(EventRef(NOW, name) for name in sorted(names[:100]))
            versions.append(
                Finding(
                    finding_id=identity.finding_id("rule", {"user": "a"}, bucket),
                    rule=RuleRef("rule", "Rule", "1", "high"),
                    severity=Severity.WARNING,
                    entity={"user": "a"},
                    bucket_start=NOW,
                    first_seen=NOW,
                    last_seen=NOW,
                    count=len(names),
                    description=f"{len(names)} logins",
                    evidence=Evidence(refs, event_hashes=hashes),
                )
            )
            listed = last
        events.update(range(first, last))
    return len(events), versions


@given(overlapping(), st.data())
def test_the_count_is_the_number_of_distinct_events_of_large_findings(
    stream: tuple[int, list[Finding]], data: st.DataObject
) -> None:
    # given overlapping findings with more events than a version can name
    number, versions = stream
    # when their versions arrive in any order, some twice
    again = data.draw(st.lists(st.sampled_from(versions), max_size=4))
    memory = Memory()
    for version in data.draw(st.permutations([*versions, *again])):
        memory.take([version])
    # then the alert counts each event once
    (alert,) = memory.alerts.values()
    assert (alert.count, alert.count_is_estimate) == (number, False)


@given(streams)
def test_a_stored_version_writes_nothing(stream: list[Finding]) -> None:
    memory = Memory()
    memory.take(stream)
    before = memory.writes, dict(memory.alerts)

    changes = memory.take(stream, now=NOW + dt.timedelta(hours=1))

    assert changes.unchanged == len({finding.finding_id for finding in stream})
    assert (memory.writes, memory.alerts) == before


def test_a_late_version_updates_its_own_alert_even_if_it_is_resolved(make_finding: Any) -> None:
    memory = Memory()
    first = make_finding(count=3)
    memory.take([first])
    (resolved,) = memory.alerts.values()
    memory.resolve(resolved)
    second = make_finding(bucket=1, count=5)

    memory.take([second, msgspec.structs.replace(first, count=4)])

    old, new = sorted(memory.alerts.values(), key=lambda alert: alert.sequence)
    assert (old.status, old.count, old.finding_count) == (Status.RESOLVED, 4, 1)
    assert (new.status, new.count, new.previous_alert_id) == (Status.OPEN, 5, old.alert_id)


def test_a_finding_of_another_entity_cannot_take_a_stored_identifier(make_finding: Any) -> None:
    memory = Memory()
    original = make_finding()
    memory.take([original])

    changes = memory.take(
        [msgspec.structs.replace(original, entity={"user_id": "mallory"}, count=9)]
    )

    assert [finding.entity for finding in changes.conflicting] == [{"user_id": "mallory"}]
    assert [stored.finding for stored in memory.findings.values()] == [original]


def test_an_alert_shows_a_bounded_part_of_long_texts(make_finding: Any) -> None:
    memory = Memory()

    memory.take([make_finding(actor="a" * 10_000, description="ü" * 10_000, resource="r" * 500)])

    (alert,) = memory.alerts.values()
    assert alert.actor == "a" * (alerts.MAX_TEXT - 1) + "…"
    assert len(alert.description) == alerts.MAX_DESCRIPTION
    assert alert.resource == "r" * 500
