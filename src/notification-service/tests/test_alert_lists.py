"""Lists of alerts: order by risk, filters by people, and one snapshot for a page."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from auditflow.contract.alert import Action, AlertSummary, Verdict
from auditflow.contract.finding import Observables
from notification_service.database import prepared, risk
from notification_service.database.alert_reader import AlertReader
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.triage_store import TriageStore
from notification_service.history import Actor
from notification_service.order import Sort
from notification_service.query import AlertFilter, AlertQuery
from notification_service.triage import Command

ALICE = Actor("alice", "person")


@pytest.fixture
def pool(reader: AlertReader) -> Pool:
    return reader.pool


def _resolve(store: TriageStore, alert: Any, verdict: Verdict) -> None:
    command = Command(action=Action.RESOLVE, verdict=verdict)
    store.act(alert.alert_id, command, actor=ALICE, expected_version=None)


def _summaries(reader: AlertReader, query: AlertQuery) -> list[AlertSummary]:
    return [msgspec.json.decode(text, type=AlertSummary) for text in reader.page(query).alerts]


def test_the_list_by_risk(
    store: FindingStore,
    triage_store: TriageStore,
    reader: AlertReader,
    pool: Pool,
    make_finding: Any,
    now: dt.datetime,
) -> None:
    # given entities of different risk, and alerts without a risk
    old = now - dt.timedelta(days=9)
    opened = store.store(
        [
            *(make_finding(user="high", rule=f"r{n}", level="high") for n in range(3)),
            make_finding(user="critical", level="critical"),
            make_finding(user="low", level="low"),
            *(make_finding(user=f"old-{n}", at=old) for n in range(3)),
            make_finding(rule="false", user="false", level="critical"),
        ]
    ).opened
    _resolve(triage_store, opened[-1], Verdict.FALSE_POSITIVE)
    assert risk.update_risks(pool) is False

    # then a client that reads page by page sees them once, in the order of risk
    seen: list[AlertSummary] = []
    after = None
    while True:
        page = reader.page(AlertQuery(sort=Sort.RISK, limit=2, after=after))
        seen += [msgspec.json.decode(text, type=AlertSummary) for text in page.alerts]
        after = page.next
        if after is None:
            break
    assert [(alert.actor, alert.risk) for alert in seen[:5]] == [
        ("critical", 100), ("high", 90), ("high", 90), ("high", 90), ("low", 3),
    ]  # fmt: skip
    assert [alert.risk for alert in seen[5:]] == [0, 0, 0, 0]
    assert len({alert.alert_id for alert in seen}) == 9


def test_the_risk_follows_changes_and_the_passing_of_time(
    store: FindingStore, triage_store: TriageStore, reader: AlertReader, pool: Pool,
    make_finding: Any, query: Any,
) -> None:  # fmt: skip
    (opened,) = store.store([make_finding(level="critical")]).opened
    risk.update_risks(pool)
    assert [alert.risk for alert in _summaries(reader, AlertQuery())] == [100]

    # when the alert becomes older than seven days
    query("UPDATE alerts SET last_seen = now() - interval '8 days', first_seen = last_seen")
    query("UPDATE entity_risk SET expires_at = now()")
    risk.update_risks(pool)
    assert [alert.risk for alert in _summaries(reader, AlertQuery())] == [0]

    # when it is active again, and then resolved as a false positive
    store.store([make_finding(level="critical", bucket=1)])
    risk.update_risks(pool)
    assert [alert.risk for alert in _summaries(reader, AlertQuery())] == [100]
    _resolve(triage_store, opened, Verdict.FALSE_POSITIVE)
    risk.update_risks(pool)
    assert [alert.risk for alert in _summaries(reader, AlertQuery())] == [0]


def test_the_filter_finds_everybody_who_took_part(
    store: FindingStore, reader: AlertReader, make_finding: Any
) -> None:
    # given an address that tried many users, in two findings
    entity = {"client_ip": "203.0.113.7"}
    for bucket, users in enumerate((("Anna", "Ben"), ("Cleo",))):
        store.store(
            [
                make_finding(
                    user="last", bucket=bucket, entity=entity, server_hostname=f"web-{bucket}",
                    observables=Observables(users=users),
                )
            ]
        )  # fmt: skip
    store.store([make_finding(user="other", client_ip="198.51.100.1", server_hostname="db")])

    for query in (
        AlertFilter(actor="anna"), AlertFilter(actor="BEN"), AlertFilter(actor="cl*"),
        AlertFilter(host="web-0"), AlertFilter(host="WEB-1"), AlertFilter(ip="203.0.113.*"),
    ):  # fmt: skip
        found = _summaries(reader, AlertQuery(**msgspec.structs.asdict(query)))
        assert [alert.entity for alert in found] == [entity], query


def test_a_page_is_one_snapshot(
    store: FindingStore, database: Any, open_pool: Any, make_finding: Any
) -> None:
    # given writers that move alerts between states all the time
    users = [f"user-{n}" for n in range(20)]
    opened = store.store([make_finding(user=user) for user in users]).opened
    everything = {alert.alert_id for alert in opened}
    own, reading = TriageStore(open_pool(database)), AlertReader(open_pool(database))

    def write() -> None:
        for _ in range(4):
            for alert in opened:
                for action in (Action.ACKNOWLEDGE, Action.REOPEN):
                    own.act(
                        alert.alert_id, Command(action=action), actor=ALICE, expected_version=None
                    )

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        pages = 0
        while not writing.done() or pages == 0:
            # then a page of all states contains each alert exactly once
            found = [alert.alert_id for alert in _summaries(reading, AlertQuery(limit=200))]
            assert len(found) == 20
            assert set(found) == everything
            pages += 1
        writing.result()


def test_a_page_that_is_partly_in_the_cache_is_one_snapshot(
    store: FindingStore,
    triage_store: TriageStore,
    reader: AlertReader,
    make_finding: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a page in the cache of the reader, of which one alert has changed since
    opened = store.store([make_finding(user=f"user-{n}") for n in range(5)]).opened
    alert_ids = [alert.alert_id for alert in opened]
    assert len(_summaries(reader, AlertQuery())) == 5
    comment = Command(action=Action.COMMENT, comment="Seen.")
    triage_store.act(alert_ids[0], comment, actor=ALICE, expected_version=None)
    # when all alerts change in one transaction after the reader has read the versions of the page
    statements: list[str] = []
    execute = prepared.execute

    def execute_and_change(cursor: Any, statement: str, values: Any) -> None:
        execute(cursor, statement, values)
        statements.append(statement)
        if len(statements) == 1:
            triage_store.act_on_selection(alert_ids, comment, actor=ALICE)

    monkeypatch.setattr(prepared, "execute", execute_and_change)
    found = {alert.alert_id: alert.triage_version for alert in _summaries(reader, AlertQuery())}
    # then the page contains this transaction for all alerts, not only for the alert that was missing
    assert len(statements) == 2
    assert found == dict.fromkeys(alert_ids[1:], 2) | {alert_ids[0]: 3}
