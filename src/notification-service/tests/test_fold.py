"""Folding, without a database: whatever the order, the same findings make the same alerts."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from auditflow.contract import finding as findings
from auditflow.contract import identity
from auditflow.contract.alert import Status
from auditflow.contract.event import Severity
from auditflow.contract.finding import EventRef, Evidence, Finding, RuleRef
from notification_service import alert as alerts
from notification_service.alert import Alert
from notification_service.fold import Changes, Stored, fingerprint_of, fold

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


class Memory:
    """What the tables hold, and the reading and writing that the adapter does."""

    def __init__(self) -> None:
        self.findings: dict[Any, Stored] = {}
        self.alerts: dict[Any, Alert] = {}
        self.writes = 0

    def take(self, batch: Sequence[Finding], *, now: dt.datetime = NOW) -> Changes:
        merged = findings.merge_all(batch)
        stored = {key: self.findings[key] for key in merged if key in self.findings}
        wanted = {fingerprint_of(finding) for finding in merged.values()}
        named = {one.alert_id for one in stored.values()}
        known = [
            one
            for one in self.alerts.values()
            if one.alert_id in named
            or (one.fingerprint in wanted and (one.status != "resolved" or self._is_last(one)))
        ]
        changes = fold(merged.values(), stored=stored, known=known, now=now)
        for one in (*changes.new, *changes.updated):
            self.findings[one.finding.finding_id] = one
        for alert in (*changes.opened, *changes.changed):
            self.alerts[alert.alert_id] = alert
        self.writes += len(changes.new) + len(changes.updated) + len(changes.changed)
        return changes

    def resolve(self, alert: Alert) -> None:
        self.alerts[alert.alert_id] = msgspec.structs.replace(alert, status=Status.RESOLVED)

    def _is_last(self, alert: Alert) -> bool:
        of_same = (one for one in self.alerts.values() if one.fingerprint == alert.fingerprint)
        return alert.sequence == max(one.sequence for one in of_same)

    def sums(self) -> dict[Any, Alert]:
        """The alerts, without what tells when and in how many steps they were made."""
        return {
            key: msgspec.structs.replace(one, opened_at=NOW, updated_at=NOW, version=1)
            for key, one in self.alerts.items()
        }


moments = st.integers(0, 7200).map(lambda second: NOW - dt.timedelta(seconds=second))


@st.composite
def versions(draw: st.DrawFn) -> Finding:
    """A version of one of a few findings: what different workers knew at different times."""
    user, bucket = draw(st.sampled_from("abc")), draw(st.integers(0, 2))
    first, last = sorted((draw(moments), draw(moments)))
    count = draw(st.integers(1, 12))
    raw: Any = msgspec.Raw(msgspec.json.encode({"event_id": user, "timestamp": last, "n": count}))
    return Finding(
        finding_id=identity.finding_id("rule", {"user": user}, bucket),
        rule=RuleRef("rule", draw(st.sampled_from(("Old", "New"))), "1", "high"),
        severity=draw(st.sampled_from(Severity)),
        entity={"user": user},
        bucket_start=draw(moments),
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
        # then each alert tells exactly of the findings that are its own
        own = [one.finding for one in memory.findings.values() if one.alert_id == alert.alert_id]
        newest = max(own, key=lambda finding: (finding.last_seen, finding.finding_id))
        assert alert.finding_count == len(own)
        assert alert.count == sum(finding.count for finding in own)
        assert alert.severity.rank == max(finding.severity.rank for finding in own)
        assert alert.first_seen == min(finding.first_seen for finding in own)
        assert (alert.last_seen, alert.newest_finding_id) == (
            newest.last_seen,
            newest.finding_id,
        )
        assert alert.approximate == any(finding.approximate for finding in own)
        assert (alert.description, alert.actor) == (newest.description, newest.actor)
        assert alert.title == newest.rule.title
    for fingerprint in {one.fingerprint for one in memory.alerts.values()}:
        # and one chain per fingerprint, of which only the last link may be unresolved
        chain = sorted(
            (one for one in memory.alerts.values() if one.fingerprint == fingerprint),
            key=lambda one: one.sequence,
        )
        assert [one.sequence for one in chain] == list(range(1, len(chain) + 1))
        assert all(one.status is Status.RESOLVED for one in chain[:-1])
        before = [None, *(one.alert_id for one in chain)]
        assert [one.previous_alert_id for one in chain] == before[:-1]


@given(streams)
def test_what_is_known_already_writes_nothing(stream: list[Finding]) -> None:
    memory = Memory()
    memory.take(stream)
    before = memory.writes, dict(memory.alerts)

    changes = memory.take(stream, now=NOW + dt.timedelta(hours=1))

    assert changes.unchanged == len({finding.finding_id for finding in stream})
    assert (memory.writes, memory.alerts) == before


def test_a_late_version_goes_to_its_own_alert_though_it_is_resolved(make_finding: Any) -> None:
    memory = Memory()
    first = make_finding(count=3)
    memory.take([first])
    (resolved,) = memory.alerts.values()
    memory.resolve(resolved)
    second = make_finding(bucket=1, count=5)

    memory.take([second, msgspec.structs.replace(first, count=4)])

    old, new = sorted(memory.alerts.values(), key=lambda one: one.sequence)
    assert (old.status, old.count, old.finding_count) == (Status.RESOLVED, 4, 1)
    assert (new.status, new.count, new.previous_alert_id) == (Status.OPEN, 5, old.alert_id)


def test_a_finding_of_another_entity_cannot_take_a_stored_identifier(make_finding: Any) -> None:
    memory = Memory()
    honest = make_finding()
    memory.take([honest])

    changes = memory.take([msgspec.structs.replace(honest, entity={"user_id": "mallory"}, count=9)])

    assert [one.entity for one in changes.impostors] == [{"user_id": "mallory"}]
    assert [one.finding for one in memory.findings.values()] == [honest]


def test_an_alert_shows_a_bounded_part_of_long_texts(make_finding: Any) -> None:
    memory = Memory()

    memory.take([make_finding(actor="a" * 10_000, description="ü" * 10_000, resource="r" * 500)])

    (alert,) = memory.alerts.values()
    assert alert.actor == "a" * (alerts.MAX_TEXT - 1) + "…"
    assert len(alert.description) == alerts.MAX_DESCRIPTION
    assert alert.resource == "r" * 500
