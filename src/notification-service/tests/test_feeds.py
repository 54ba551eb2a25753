"""Changes, the live stream and exports, on the real database and over HTTP."""

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import psycopg2
import pytest

from auditflow.contract.alert import Action
from notification_service import export
from notification_service.database.change_feed import read_changes
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.triage_store import TriageStore
from notification_service.history import Actor
from notification_service.triage import Command


def test_changes_are_read_once_and_in_order(
    store: FindingStore, open_pool: Callable[..., Pool], database: Any, make_finding: Any
) -> None:
    pool = open_pool(database)
    start = read_changes(pool, None)
    assert (start.changes, start.last) == ([], 0)
    first = store.store([make_finding(user=f"user-{n}") for n in range(3)]).opened
    store.store([make_finding(user="user-0", bucket=1)])

    found = read_changes(pool, start.last)

    assert len(found.changes) == 3
    assert [change.number for change in found.changes] == sorted(
        change.number for change in found.changes
    )
    assert json.loads(found.changes[-1].alert)["alert_id"] == str(first[0].alert_id)
    assert read_changes(pool, found.last).changes == []


def test_a_change_that_commits_late_is_not_missed(
    store: FindingStore, open_pool: Callable[..., Pool], database: Any, make_finding: Any
) -> None:
    # given a transaction that has a number already, but has not committed
    store.store([make_finding(user="slow"), make_finding(user="fast")])
    pool = open_pool(database)
    start = read_changes(pool, None).last
    with closing(psycopg2.connect(database.dsn())) as slow:
        with slow.cursor() as cursor:
            cursor.execute("UPDATE alerts SET updated_at = now() WHERE actor = 'slow'")

            # when another one commits with a higher number
            store.store([make_finding(user="fast", bucket=1)])

            # then a reader waits for the first one
            between = read_changes(pool, start)
            assert between.changes == []
        slow.commit()
    after = read_changes(pool, between.last)
    assert [json.loads(change.alert)["actor"] for change in after.changes] == ["slow", "fast"]


def test_concurrent_writers_and_a_reader_that_follows(
    database: Any, open_pool: Callable[..., Pool], make_finding: Any, query: Any
) -> None:
    done = threading.Event()
    seen: dict[str, int] = {}

    def follow() -> None:
        pool, last = open_pool(database), 0
        while True:
            finished = done.is_set()
            found = read_changes(pool, last)
            for change in found.changes:
                alert = json.loads(change.alert)
                seen[alert["alert_id"]] = alert["count"]
            last = found.last
            if finished and not found.changes:
                return

    def write(seed: int) -> None:
        own = FindingStore(open_pool(database))
        for turn in range(25):
            own.store([make_finding(user=f"user-{turn % 5}", bucket=seed * 100 + turn)])

    with ThreadPoolExecutor(5) as threads:
        following = threads.submit(follow)
        for writing in [threads.submit(write, seed) for seed in range(4)]:
            writing.result(timeout=60)
        done.set()
        following.result(timeout=60)

    assert seen == {str(key): count for key, count in query("SELECT alert_id, count FROM alerts")}


@pytest.fixture
def events(api: httpx.Client) -> Callable[..., Iterator[dict[str, Any]]]:
    """The events of a stream, as they arrive."""

    def read(last: str | None = None) -> Iterator[dict[str, Any]]:
        headers = {"Last-Event-ID": last} if last else {}
        with api.stream("GET", "/api/v1/alerts/stream", headers=headers, timeout=30) as answer:
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "text/event-stream"
            event: dict[str, Any] = {}
            for line in answer.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif event:
                    yield event
                    event = {}

    return read


def test_the_stream_shows_changes_at_once_and_continues_after_a_reconnect(
    api: httpx.Client, broker: Any, make_finding: Any, events: Any, service: Any
) -> None:
    stream = events()
    opening = next(stream)
    assert "id" in opening

    # when alerts change, then the stream shows them
    broker.send(make_finding(user="alice"))
    first = next(stream)
    assert first["event"] == "alert"
    alert = json.loads(first["data"])
    assert (alert["actor"], str(alert["change_seq"])) == ("alice", first["id"])
    action = api.post(f"/api/v1/alerts/{alert['alert_id']}/acknowledge", headers={"If-Match": "*"})
    assert action.status_code == 200
    assert json.loads(next(stream)["data"])["status"] == "acknowledged"
    stream.close()

    # and a client that reconnects gets what it missed
    broker.send(make_finding(user="bob"))
    again = events(first["id"])
    assert next(again)["id"] == first["id"]
    missed = [json.loads(next(again)["data"]) for _ in range(2)]
    assert {it["actor"]: it["status"] for it in missed} == {"alice": "acknowledged", "bob": "open"}
    again.close()
    # and the service stops although a stream is open
    open_stream = events()
    next(open_stream)
    service.stop()
    assert service.exit_code == 0


def test_exports(api: httpx.Client, broker: Any, make_finding: Any, eventually: Any) -> None:
    users = ["alice", "=HYPERLINK(1)", 'quote " and, comma', "ünïcode"]
    broker.send(*(make_finding(user=user) for user in users))
    eventually(lambda: api.get("/api/v1/alerts/total").json()["total"] == len(users))

    ndjson = api.get("/api/v1/alerts/export", params={"status": "open"})
    lines = [json.loads(line) for line in ndjson.text.splitlines()]
    assert {line["actor"] for line in lines} == set(users)
    assert [line["alert_id"] for line in lines] == sorted(line["alert_id"] for line in lines)

    answer = api.get("/api/v1/alerts/export", params={"format": "csv"})
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["actor"] for row in rows} == {*users, "'=HYPERLINK(1)"} - {"=HYPERLINK(1)"}
    assert tuple(rows[0]) == export.COLUMNS

    bundle = api.get("/api/v1/alerts/export", params={"format": "stix"}).json()
    kinds = [item["type"] for item in bundle["objects"]]
    assert (kinds.count("incident"), kinds.count("relationship")) == (4, 4)
    assert kinds.count("ipv4-addr") == 1
    ids = [item["id"] for item in bundle["objects"]]
    assert len(ids) == len(set(ids))
    for item in bundle["objects"]:
        for reference in item.get("object_refs", ()):
            assert reference in ids

    assert api.get("/api/v1/alerts/export", params={"format": "xml"}).status_code == 400
    assert api.get("/api/v1/alerts/export", params={"actor": "nobody"}).text == ""


def test_stix_objects_are_valid_by_the_reference_library(make_finding: Any, store: Any,
    open_pool: Callable[..., Pool], database: Any) -> None:  # fmt: skip
    stix2 = pytest.importorskip("stix2")
    store.store([make_finding(), make_finding(user="bob", client_ip="2001:db8::1"),
                 make_finding(user="carol", client_ip="gateway.example")])  # fmt: skip
    changes = read_changes(open_pool(database), 0).changes

    parts = export.encode((change.alert for change in changes), export.Format.STIX)

    bundle = stix2.parse(b"".join(parts).decode())
    assert len(bundle.objects) == 3 * 5


def test_an_action_is_a_change(
    store: FindingStore, triage_store: TriageStore, open_pool: Any, database: Any, make_finding: Any
) -> None:
    (alert,) = store.store([make_finding()]).opened
    pool = open_pool(database)
    before = read_changes(pool, None).last

    triage_store.act(
        alert.alert_id,
        Command(action=Action.ASSIGN, assignee="bob"),
        actor=Actor("alice", "person"),
        expected_version=None,
    )

    (change,) = read_changes(pool, before).changes
    assert json.loads(change.alert)["assignee"] == "bob"
