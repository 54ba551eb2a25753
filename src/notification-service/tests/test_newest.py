"""Pages that are found in the newest alerts are the same pages that all alerts give."""

import datetime as dt
import random
from typing import Any

import msgspec
import pytest

from auditflow.contract.alert import Action, AlertSummary, Status, Verdict
from notification_service.database import newest
from notification_service.database.alert_filters import Few
from notification_service.database.alert_reader import AlertReader
from notification_service.database.texts import update_texts
from notification_service.history import Actor
from notification_service.order import Sort
from notification_service.query import AlertQuery
from notification_service.triage import Command

NUMBER = 400
QUERIES: tuple[dict[str, Any], ...] = (
    {"host": "web-1"}, {"host": "WEB-*"}, {"actor": "user-1*"}, {"q": "failed"}, {"q": "OF USER-1"},
    {"q": "web-1"}, {"host": "web-1", "q": "user-1"}, {"host": "web-1", "status": (Status.OPEN,)},
    {"q": "web-1", "status": (Status.OPEN, Status.RESOLVED)}, {"q": "rare"}, {"host": "rare"},
    {"host": "web-2", "since": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}, {"q": "nothing"},
)  # fmt: skip


@pytest.fixture
def filled(
    store: Any, triage_store: Any, reader: AlertReader, make_finding: Any, now: dt.datetime
) -> AlertReader:
    """Alerts in an order that is not that of their identifiers. A third is resolved."""
    rng = random.Random(7)
    findings = [
        make_finding(
            user=f"user-{n}",
            server_hostname="rare" if n == 77 else f"web-{n % 3}",
            at=now - dt.timedelta(seconds=rng.randrange(900)),
        )
        for n in range(NUMBER)
    ]
    for start in range(0, NUMBER, 200):
        for alert in store.store(findings[start : start + 200]).opened:
            if rng.random() < 0.3:
                command = Command(action=Action.RESOLVE, verdict=Verdict.BENIGN)
                triage_store.act(
                    alert.alert_id, command, actor=Actor("a", "person"), expected_version=None
                )
    while update_texts(reader.pool):
        pass
    return reader


@pytest.mark.parametrize("filters", QUERIES, ids=str)
def test_all_pages_are_those_of_all_alerts(
    filled: AlertReader, query: Any, monkeypatch: pytest.MonkeyPatch, filters: dict[str, Any]
) -> None:
    def pages() -> list[tuple[str, ...]]:
        found, after = [], None
        while True:
            page = filled.page(AlertQuery(**filters, limit=7, after=after))
            ids = [msgspec.json.decode(text, type=AlertSummary).alert_id for text in page.alerts]
            found.append(tuple(map(str, ids)))
            after = page.next
            if after is None:
                return found

    expected = pages()
    results: list[list[str] | None] = []
    original = newest.find

    def find(*arguments: Any) -> list[str] | None:
        results.append(original(*arguments))
        return results[-1]

    monkeypatch.setattr(newest, "MANY", 1)
    monkeypatch.setattr(newest, "find", find)
    query("ANALYZE alerts, alert_texts")

    assert pages() == expected
    assert len(expected) == 1 or any(results), "no page was found in the newest alerts"
    assert results[-1] is None  # the last page is not full


def test_a_search_of_the_newest_alerts_reads_the_index_only(
    filled: AlertReader, query: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "MANY", 1)
    query("ANALYZE alerts")
    few = Few(observables=frozenset({"host"}), expected=130)
    statement, values = newest.statement(AlertQuery(host="web-1", limit=7), few, depth=50)
    with filled.pool.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {statement}", values)
        steps = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index Only Scan using alerts_by_activity" in steps
    assert "hashed SubPlan" in steps


@pytest.mark.parametrize(
    "filters",
    [
        {"sort": Sort.RISK},
        {"rule": "x"},
        {"assignee": ""},
        {"until": dt.datetime(2026, 11, 1, tzinfo=dt.UTC)},
    ],
    ids=str,
)
def test_other_lists_are_not_searched_in_the_newest_alerts(filters: dict[str, Any]) -> None:
    assert not newest.supports(AlertQuery(**filters, host="web-1"))
