"""Retention, with a controlled clock."""

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr, ValidationError

from auditflow.errors import Unavailable
from auditflow_local.servers.postgres import Database
from notification_service.database import retention as retentions
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.retention import Retention, cutoff_of
from notification_service.metrics import RetentionMetrics
from notification_service.settings import Settings

NOW = dt.datetime.now(dt.UTC)
DAYS = 100


def _months_ago(count: int) -> dt.datetime:
    """The middle of a month before the month of the cutoff; 0 is the month that stays."""
    month = cutoff_of(NOW, DAYS)
    for _ in range(count):
        month = (month - dt.timedelta(days=1)).replace(day=1)
    return month + dt.timedelta(days=14)


@pytest.fixture
def make(
    database: Database, open_pool: Callable[..., Pool]
) -> Callable[..., tuple[Retention, CollectorRegistry]]:
    def make(now: dt.datetime = NOW) -> tuple[Retention, CollectorRegistry]:
        registry = CollectorRegistry()
        metrics = RetentionMetrics(registry)
        return Retention(open_pool(database), metrics, days=DAYS, clock=lambda: now), registry

    return make


@pytest.fixture
def filled(store: FindingStore, make_finding: Any, query: Any) -> None:
    """Three alerts of alice, one in each month, and one alert of bob that is open."""
    for sequence, months in enumerate((2, 1, 0), start=1):
        at = _months_ago(months)
        store.store(
            [make_finding(bucket=sequence, at=at), make_finding(bucket=sequence + 10, at=at)]
        )
        query(
            "UPDATE alerts SET status = 'resolved', verdict = 'benign', updated_at = last_seen"
            " WHERE actor = 'alice' AND status = 'open'"
        )
    store.store([make_finding(user="bob", bucket=1, at=_months_ago(2))])
    old = _months_ago(4)
    store.store([make_finding(user="carol", bucket=1, at=old)])
    query("UPDATE findings SET received_at = bucket_start")
    query(
        "INSERT INTO notifications (notification_id, receiver, kind, content, alert_count,"
        " created_at, next_attempt_at, status) SELECT gen_random_uuid(), 'chat', 'alerts', '{}',"
        " 1, at, at, status FROM (VALUES (%s::timestamptz, 'sent'), (%s, 'pending'), (%s, 'sent'))"
        " AS given (at, status)",
        old, old, NOW,
    )  # fmt: skip


def _state(query: Any) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    return (
        query("SELECT actor, bucket_start FROM findings ORDER BY actor, bucket_start"),
        query(
            "SELECT actor, sequence, status, previous_alert_id IS NOT NULL FROM alerts"
            " ORDER BY actor, sequence"
        ),
        query("SELECT DISTINCT actor FROM alert_observables JOIN alerts USING (alert_id)"),
        query("SELECT status FROM notifications ORDER BY status, created_at"),
    )


def test_months_before_the_cutoff_are_dropped_and_newer_data_stay(
    filled: None, make: Any, query: Any
) -> None:
    query("INSERT INTO alert_texts SELECT alert_id, title FROM alerts")
    retention, registry = make()
    while retention():
        pass

    findings, alerts, _, notifications = _state(query)

    kept = _months_ago(0)
    assert findings == [("alice", kept), ("alice", kept)]
    assert alerts == [
        ("alice", 3, "resolved", False),  # the alert before it was deleted
        ("bob", 1, "open", False),  # not resolved
        ("carol", 1, "open", False),
    ]
    for table in ("alert_observables", "alert_texts"):
        assert query(f"SELECT count(*) FROM {table} LEFT JOIN alerts USING (alert_id)"
                     " WHERE alerts.alert_id IS NULL") == [(0,)]  # fmt: skip
    assert notifications == [("pending",), ("sent",)]
    deleted = {
        kind: registry.get_sample_value("auditflow_retention_deleted_total", {"kind": kind})
        for kind in ("partitions", "alerts", "notifications")
    }
    assert deleted == {"partitions": 3, "alerts": 2, "notifications": 1}
    assert query("SELECT sum(number) FROM alert_counts") == [(3,)]
    assert not retention()


def test_a_later_clock_deletes_more_and_the_next_alert_keeps_its_number(
    filled: None, make: Any, query: Any, store: FindingStore, make_finding: Any
) -> None:
    retention, _ = make(NOW + dt.timedelta(days=60))
    while retention():
        pass
    assert _state(query)[0] == []
    store.store([make_finding(bucket=99, at=NOW)])
    assert query("SELECT max(sequence) FROM alerts WHERE actor = 'alice'") == [(4,)]


def test_rows_of_the_default_partition_are_deleted_in_batches(
    store: FindingStore, make: Any, make_finding: Any, query: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(retentions, "BATCH", 2)
    ancient = dt.datetime(2020, 5, 17, tzinfo=dt.UTC)
    store.store([make_finding(bucket=number, at=ancient) for number in range(5)])
    query("UPDATE findings SET received_at = bucket_start")
    assert query("SELECT count(*) FROM findings_default") == [(5,)]
    retention, _ = make()
    remaining = []
    while retention():
        remaining.append(query("SELECT count(*) FROM findings_default")[0][0])
    assert remaining == [3, 1, 0]


def test_a_source_cannot_let_its_findings_be_deleted_by_an_old_time(
    store: FindingStore, make: Any, make_finding: Any, query: Any
) -> None:
    # Given findings that were received today, of events that claim to be old
    ancient = dt.datetime(1971, 5, 17, tzinfo=dt.UTC)
    store.store([make_finding(bucket=1, at=ancient)])
    store.store([make_finding(user="bob", bucket=2, at=_months_ago(1))])
    # and a finding of the same month that was received then
    store.store([make_finding(user="carol", bucket=3, at=_months_ago(1))])
    query("UPDATE findings SET received_at = bucket_start WHERE actor = 'carol'")
    retention, _ = make()
    # when everything old is deleted, then they stay
    while retention():
        pass
    assert _state(query)[0] == [("alice", ancient), ("bob", _months_ago(1))]


def test_two_runs_at_the_same_time_are_safe(filled: None, make: Any, query: Any) -> None:
    runs = [make(), make(), make()]

    def run(retention: Retention) -> None:
        for _ in range(20):
            retention()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(run, [retention for retention, _ in runs]))

    deleted = [
        sum(
            registry.get_sample_value("auditflow_retention_deleted_total", {"kind": kind}) or 0
            for _, registry in runs
        )
        for kind in ("partitions", "alerts", "notifications")
    ]
    assert deleted == [3, 2, 1]


def test_a_second_run_waits_for_nothing(
    filled: None, make: Any, open_pool: Any, database: Database, query: Any
) -> None:
    with open_pool(database).connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(4713, 3), pg_advisory_xact_lock(4713, 4)")
        before = _state(query)[:2]
        make()[0]()
        assert _state(query)[:2] == before


def test_a_locked_table_is_left_for_later(filled: None, make: Any, query: Any, database: Any,
                                          open_pool: Any) -> None:  # fmt: skip
    retention, _ = make()
    with open_pool(database).connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM findings")  # a long read
        with pytest.raises(Unavailable):
            retention()
    assert retention()


def test_the_service_cannot_delete_what_is_recent(filled: None, query: Any) -> None:
    for function in ("retention_drop_findings", "retention_delete_alerts"):
        with pytest.raises(psycopg2.Error, match="within the last 30 days"):
            query(f"SELECT {function}(now() - interval '29 days', 10)", role="auditflow_app")
    for statement in ("DELETE FROM alerts", "DROP TABLE findings_default", "DELETE FROM findings"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(statement, role="auditflow_app")


@pytest.mark.parametrize("days", [-1, 1, 30, 40_000])
def test_a_retention_that_is_too_short_is_refused(days: int) -> None:
    secret = SecretStr("s")
    with pytest.raises(ValidationError, match="must be 0 or from 31 to 36500 days"):
        Settings(
            retention_days=days, pg_user="u", pg_password=secret, rabbitmq_user="u",
            rabbitmq_pass=secret, api_token=secret,
        )  # fmt: skip
