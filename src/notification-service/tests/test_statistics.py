"""Numbers for an overview and the activity of rules, on the real database."""

import datetime as dt
from typing import Any

import pytest

from auditflow.contract.alert import Action, Verdict
from notification_service.database import risk, statistics
from notification_service.database.alert_reader import AlertReader
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.triage_store import TriageStore
from notification_service.history import Actor
from notification_service.triage import Command

ALICE = Actor("alice", "person")


@pytest.fixture
def pool(reader: AlertReader) -> Pool:
    return reader.pool


def _age(pool: Pool, alert: Any, **age: float) -> None:
    """Move the opening of an alert to the past."""
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE alerts SET opened_at = now() - %s WHERE alert_id = %s",
            (dt.timedelta(**age), str(alert.alert_id)),
        )


def _resolve(store: TriageStore, alert: Any, verdict: Verdict) -> None:
    command = Command(action=Action.RESOLVE, verdict=verdict)
    store.act(alert.alert_id, command, actor=ALICE, expected_version=None)


def test_an_overview_counts_by_hour_and_day_and_measures_response_times(
    store: FindingStore, triage_store: TriageStore, pool: Pool, make_finding: Any
) -> None:
    # given three alerts, two of which are resolved one hour and three hours after their opening
    users = ("alice", "bob", "carol")
    opened = store.store([make_finding(user=user, level="high") for user in users]).opened
    _resolve(triage_store, opened[0], Verdict.BENIGN)
    _resolve(triage_store, opened[1], Verdict.TRUE_POSITIVE)
    _age(pool, opened[0], hours=1)
    _age(pool, opened[1], hours=3)
    risk.update_risks(pool)
    # when the overview is read
    found = statistics.read_overview(pool, now=dt.datetime.now(dt.UTC))
    # then every alert is in one hour and on one day, and the means are those of the two
    assert sum(bar.alerts for bar in found.hours) == sum(bar.alerts for bar in found.days) == 3
    assert len({bar.start for bar in found.hours}) == 3
    assert {entity.value for entity in found.users} == {*users}
    times = found.response_times
    assert (times.acknowledged, times.resolved) == (2, 2)
    assert times.mean_to_acknowledge == pytest.approx(7200, abs=60)
    assert times.mean_to_resolve == pytest.approx(7200, abs=60)


def test_an_empty_overview(pool: Pool, store: FindingStore) -> None:
    found = statistics.read_overview(pool, now=dt.datetime.now(dt.UTC))
    assert (found.hours, found.days, found.users) == ((), (), ())
    assert found.response_times.mean_to_acknowledge is None
    assert found.response_times.resolved == 0


def test_the_activity_of_rules_has_days_and_verdicts(
    store: FindingStore, triage_store: TriageStore, pool: Pool, make_finding: Any
) -> None:
    # given three alerts of one rule, from today and two days ago, and one of another rule
    findings = [make_finding(user=user, rule="guess") for user in ("alice", "bob", "carol")]
    findings.append(make_finding(user="alice", rule="sudo"))
    opened = store.store(findings).opened
    _resolve(triage_store, opened[0], Verdict.FALSE_POSITIVE)
    _resolve(triage_store, opened[1], Verdict.TRUE_POSITIVE)
    _age(pool, opened[1], days=2)
    _age(pool, opened[3], days=40)
    # when the statistics of 3 days are read
    found = statistics.read_rules(pool, days=3, now=dt.datetime.now(dt.UTC))
    # then the old alert is not counted, and the days are in order
    (rule,) = found.rules
    assert (rule.rule, rule.alerts, rule.daily) == ("guess", 3, (1, 0, 2))
    assert (rule.false_positive, rule.true_positive, rule.unresolved) == (1, 1, 1)
