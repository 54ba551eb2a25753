"""Storing findings in the real database: order, redelivery, several workers, people's actions."""

import datetime as dt
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import psycopg2
import pytest

from auditflow.contract import finding as findings
from auditflow.contract.alert import AlertDetail, AlertSummary
from auditflow.contract.finding import EventRef, Evidence, Finding
from auditflow.errors import ContractError, Unavailable
from auditflow_local.servers.postgres_roles import APP
from notification_service.aggregation import Changes
from notification_service.database.alert_reader import AlertReader
from notification_service.database.connection import connect_for_keys
from notification_service.database.finding_store import FindingStore
from notification_service.query import AlertQuery

SUMS = """
    SELECT fingerprint, sequence, alert_id, status, severity, count, finding_count, first_seen,
           last_seen, newest_finding_id, description, actor, approximate, previous_alert_id
    FROM alerts ORDER BY fingerprint, sequence
"""
FINDINGS = """
    SELECT finding_id, bucket_start, alert_id, count, severity, first_seen, last_seen, description,
           evidence::text, first_event::text, last_event::text
    FROM findings ORDER BY finding_id
"""
#: Alerts that do not agree with their findings.
WRONG = """
    SELECT alert_id FROM alerts LEFT JOIN LATERAL (
        SELECT count(*) AS n, min(first_seen) AS first, max(last_seen) AS last,
               sum(greatest(0, count - jsonb_array_length(evidence))) + (
                   SELECT count(DISTINCT event ->> 'event_id')
                   FROM findings AS f, jsonb_array_elements(f.evidence) AS event
                   WHERE f.alert_id = alerts.alert_id
               ) AS total
        FROM findings WHERE findings.alert_id = alerts.alert_id
    ) AS own ON true
    WHERE (finding_count, count, first_seen, last_seen) IS DISTINCT FROM (n, total, first, last)
"""


def _stream(make_finding: Callable[..., Finding], seed: int) -> list[Finding]:
    """Versions of 40 findings of 8 users, as several workers would publish them, shuffled."""
    rng = random.Random(seed)
    stream = []
    for number in range(160):
        user, bucket = f"user-{number % 8}", number % 5
        finding = make_finding(user=user, bucket=bucket)
        later = dt.timedelta(seconds=rng.randrange(60))
        count = rng.randrange(3, 30)
        stream.append(
            msgspec.structs.replace(
                finding,
                last_seen=finding.last_seen + later,
                count=count,
                description=f"{count} failed logins of {user}",
            )
        )
    rng.shuffle(stream)
    return stream


def _store_all(store: FindingStore, stream: list[Finding], size: int) -> None:
    for start in range(0, len(stream), size):
        store.store(list(findings.merge_all(stream[start : start + size]).values()))


def test_two_workers_in_any_order_store_what_one_stores(
    database: Any, postgres: Any, open_pool: Any, query: Any, make_finding: Any
) -> None:
    # given the expected result: everything stored at once in another database
    elsewhere = postgres.fresh_database(template="template_notification_service")
    stream = _stream(make_finding, seed=1)
    _store_all(
        FindingStore(open_pool(elsewhere, open_connection=connect_for_keys)),
        stream,
        size=len(stream),
    )
    with psycopg2.connect(elsewhere.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(FINDINGS)
        expected_findings = cursor.fetchall()
        cursor.execute(SUMS)
        expected = cursor.fetchall()
    connection.close()

    # when three workers store overlapping shuffles of it at the same time
    start = threading.Barrier(3)

    def work(seed: int) -> None:
        store = FindingStore(open_pool(database, open_connection=connect_for_keys))
        start.wait()
        for turn in range(3):
            _store_all(store, random.Random(seed + turn).sample(stream, len(stream)), size=17)

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(work, seed) for seed in (1, 20, 300)]:
            done.result(timeout=60)

    # then the database contains the expected result
    assert query(FINDINGS) == expected_findings
    assert query(SUMS) == expected
    assert query(WRONG) == []


def test_a_stored_finding_is_returned_unchanged(
    store: FindingStore, reader: AlertReader, make_finding: Any
) -> None:
    odd = b'{"b" : 1.0, "a": 12345678901234567890,  "a": "\\u00fc \\\\u0000"}'
    finding = make_finding(
        evidence=msgspec.structs.replace(
            make_finding().evidence, first_event=msgspec.Raw(odd), last_event=msgspec.UNSET
        ),
        entity={"user_id": "alice", "a": 'quote " and \\ and ü and 🙂'},
    )

    (opened,) = store.store([finding]).opened
    again = store.store([finding])

    assert (again.unchanged, again.updated) == (1, [])
    text = reader.detail(opened.alert_id)
    assert text is not None
    assert odd.decode() in text
    found = msgspec.json.decode(text, type=AlertDetail)
    assert found.entity == finding.entity
    for name in ("alert_id", "status", "count", "last_seen", "opened_at", "description"):
        assert getattr(found, name) == getattr(opened, name)
    (view,) = found.findings
    assert view.evidence.events == finding.evidence.events
    assert bytes(view.evidence.last_event) == b"null"  # type: ignore[arg-type]


def test_redelivery_writes_nothing(store: FindingStore, query: Any, make_finding: Any) -> None:
    store.store([make_finding()])
    (before,) = query("SELECT xmin::text, updated_at, version FROM alerts")

    changes = store.store([make_finding()])

    assert (changes.unchanged, changes.new, changes.updated) == (1, [], [])
    assert query("SELECT xmin::text, updated_at, version FROM alerts") == [before]


def test_after_a_resolution_a_new_finding_opens_a_linked_alert(
    store: FindingStore, query: Any, make_finding: Any
) -> None:
    store.store([make_finding()])
    query("UPDATE alerts SET status = 'resolved'")

    store.store([make_finding(bucket=1), make_finding(count=9)])

    old, new = query(
        "SELECT alert_id, previous_alert_id, status, count FROM alerts ORDER BY sequence"
    )
    assert (old[1], old[2], old[3]) == (None, "resolved", 9)
    assert (new[1], new[2], new[3]) == (old[0], "open", 3)


def test_a_resolution_during_the_wait_for_locks_counts(
    store: FindingStore, database: Any, query: Any, make_finding: Any, eventually: Any
) -> None:
    # given an alert that somebody is about to resolve
    store.store([make_finding()])
    person = psycopg2.connect(database.dsn())
    with person.cursor() as cursor:
        cursor.execute("UPDATE alerts SET status = 'resolved'")

    # when a new finding arrives before the commit
    with ThreadPoolExecutor(1) as thread:
        storing = thread.submit(store.store, [make_finding(bucket=1)])
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
        eventually(lambda: query(waiting, database.name, role=APP))
        person.commit()
        storing.result(timeout=60)
    person.close()

    # then it does not slip into the alert that is resolved
    assert query("SELECT status, finding_count FROM alerts ORDER BY sequence") == [
        ("resolved", 1),
        ("open", 1),
    ]


def test_an_acknowledged_alert_stays_acknowledged_when_it_gets_new_findings(
    store: FindingStore, query: Any, make_finding: Any
) -> None:
    store.store([make_finding()])
    query("UPDATE alerts SET status = 'acknowledged'")

    store.store([make_finding(bucket=1)])

    assert query("SELECT status, finding_count FROM alerts") == [("acknowledged", 2)]


def test_a_finding_whose_bucket_moves_to_another_month_has_a_single_row(
    store: FindingStore, query: Any, make_finding: Any, now: dt.datetime
) -> None:
    finding = make_finding()
    store.store([finding])
    earlier = now - dt.timedelta(days=70)

    store.store([msgspec.structs.replace(finding, bucket_start=earlier, first_seen=earlier)])

    assert query("SELECT bucket_start, tableoid::regclass::text FROM findings") == [
        (earlier, f"findings_{earlier:%Y_%m}")
    ]
    assert query(WRONG) == []


def test_an_old_back_fill_is_stored_without_a_partition_of_its_own(
    store: FindingStore, query: Any, make_finding: Any
) -> None:
    store.store([make_finding(at=dt.datetime(2011, 5, 1, tzinfo=dt.UTC))])

    assert query("SELECT tableoid::regclass::text FROM findings") == [("findings_default",)]


def test_no_table_is_read_completely_while_the_statistics_are_those_of_empty_tables(
    database: Any, open_pool: Any, make_finding: Any
) -> None:
    # given a connection whose statements were prepared when the tables were empty
    complete_reads: list[tuple[str, int]] = []

    def record(cursor: Any, _: Changes) -> None:
        cursor.execute("SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE seq_scan > 0")
        complete_reads.extend(cursor.fetchall())

    pool = open_pool(database, open_connection=connect_for_keys)
    store = FindingStore(pool, in_transaction=[record])

    # when new findings and new versions of them are stored
    for number in range(20):
        finding = make_finding(user=f"user-{number}")
        store.store([finding])
        store.store([msgspec.structs.replace(finding, count=finding.count + 1)])

    # then
    assert complete_reads == []


def test_a_transaction_that_fails_stores_nothing_and_the_next_one_succeeds(
    database: Any, open_pool: Any, query: Any, make_finding: Any
) -> None:
    # given a step of the transaction that fails once
    failures = [ContractError("refused")]

    def fail_once(_cursor: Any, _changes: Changes) -> None:
        if failures:
            raise failures.pop()

    pool = open_pool(database, open_connection=connect_for_keys)
    store = FindingStore(pool, in_transaction=[fail_once])

    # when
    with pytest.raises(ContractError):
        store.store([make_finding()])

    # then
    assert query(FINDINGS) == []
    store.store([make_finding()])
    assert len(query(FINDINGS)) == 1


def test_without_a_schema_the_database_counts_as_unavailable(
    postgres: Any, open_pool: Any, make_finding: Any
) -> None:
    empty = postgres.fresh_database()

    with pytest.raises(Unavailable, match="run notification-service-migrate"):
        FindingStore(open_pool(empty)).store([make_finding()])


def test_a_number_that_the_database_cannot_hold_is_the_fault_of_the_data(
    store: FindingStore, make_finding: Any
) -> None:
    too_much = [make_finding(bucket=bucket, count=2**62) for bucket in range(3)]

    with pytest.raises(psycopg2.DataError):
        store.store(too_much)


def test_whole_events_beyond_the_bound_stay_out_of_the_answer(
    store: FindingStore, reader: AlertReader, make_finding: Any
) -> None:
    big = msgspec.Raw(b'{"x":"' + b"y" * 250_000 + b'"}')
    for bucket in range(60):
        finding = make_finding(bucket=bucket)
        evidence = msgspec.structs.replace(finding.evidence, first_event=big, last_event=big)
        store.store([msgspec.structs.replace(finding, evidence=evidence)])

    (summary,) = reader.page(AlertQuery()).alerts
    text = reader.detail(msgspec.json.decode(summary, type=AlertSummary).alert_id)

    assert text is not None
    found = msgspec.json.decode(text, type=AlertDetail)
    assert found.finding_count == found.findings_total == 60
    assert [view.bucket_start for view in found.findings] == [
        make_finding(bucket=bucket).bucket_start for bucket in range(59, 9, -1)
    ]
    with_events = [v for v in found.findings if bytes(v.evidence.first_event) != b"null"]  # type: ignore[arg-type]
    assert len(with_events) == 4
    assert sum(view.evidence.events_omitted for view in found.findings) == 46


def test_the_count_is_the_number_of_distinct_events(
    store: FindingStore, reader: AlertReader, make_finding: Any, now: dt.datetime
) -> None:
    # given two findings that share events, as the windows of neighbouring buckets do
    def refs(numbers: range) -> Evidence:
        return Evidence(tuple(EventRef(now, f"event-{number}") for number in numbers))

    store.store([make_finding(bucket=0, count=20, evidence=refs(range(20)))])
    store.store([make_finding(bucket=1, count=18, evidence=refs(range(12, 30)))])

    (summary,) = reader.page(AlertQuery()).alerts
    alert = msgspec.json.decode(summary, type=AlertSummary)
    assert (alert.count, alert.count_is_estimate) == (30, False)


def test_events_that_no_finding_names_make_the_count_an_estimate(
    store: FindingStore, reader: AlertReader, make_finding: Any
) -> None:
    store.store([make_finding(count=150)])

    (summary,) = reader.page(AlertQuery()).alerts
    alert = msgspec.json.decode(summary, type=AlertSummary)
    assert (alert.count, alert.count_is_estimate) == (150, True)
