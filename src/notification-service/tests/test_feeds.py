"""Changes, the live stream and exports, on the real database and over HTTP."""

import asyncio
import csv
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import psycopg2
import pytest

from auditflow.contract.access import Role
from auditflow.contract.alert import Action
from notification_service import export
from notification_service.database.access_store import AccessStore
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
        with api.stream("GET", "/api/v1/alerts/stream", headers=headers, timeout=60) as answer:
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


#: Viewers of each replica.
VIEWERS = 150


def test_hundreds_of_viewers_of_two_replicas_see_each_change_once(
    broker: Any, database: Any, service_process: Any, service_secrets: Any, make_finding: Any,
    query: Any, eventually: Any,
) -> None:  # fmt: skip
    # given viewers of two replicas
    replicas = [
        service_process("notification-service", rabbitmq=broker.server, database=database)
        for _ in range(2)
    ]
    users = [f"user-{number}" for number in range(40)]
    expected = {*users, "last"}
    opened = itertools.count(1)

    async def view(port: int, all_open: asyncio.Event) -> list[str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        token = service_secrets["API_TOKEN"]
        writer.write(
            f"GET /api/v1/alerts/stream HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        seen: list[str] = []
        is_open = False
        while expected - {*seen}:
            line = await reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"id:") and not is_open:
                is_open = True
                if next(opened) == 2 * VIEWERS:
                    all_open.set()
            if line.startswith(b"data: {"):
                seen.append(json.loads(line[6:])["actor"])
        writer.close()
        return seen

    async def act(all_open: asyncio.Event) -> None:
        # when findings arrive after all streams are open, the last one at the end
        await all_open.wait()
        await asyncio.to_thread(broker.send, *(make_finding(user=user) for user in users))
        stored = "SELECT count(*) FROM alerts"
        await asyncio.to_thread(eventually, lambda: query(stored) == [(len(users),)])
        await asyncio.to_thread(broker.send, make_finding(user="last"))

    async def run() -> list[list[str]]:
        async with asyncio.timeout(120):
            all_open = asyncio.Event()
            viewers = [view(replica.port, all_open) for replica in replicas for _ in range(VIEWERS)]
            acting = asyncio.create_task(act(all_open))
            seen = await asyncio.gather(*viewers)
            await acting
            return seen

    streams = asyncio.run(run())

    # then each viewer saw each change exactly once
    assert len(streams) == 2 * VIEWERS
    for seen in streams:
        assert sorted(seen) == sorted(expected)
    # and each replica has one connection that waits for changes, not one for each viewer
    (connections,) = query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    )[0]
    assert connections < 50


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
    AccessStore(pool).put_user("bob", Role.ANALYST, disabled=False)
    before = read_changes(pool, None).last

    triage_store.act(
        alert.alert_id,
        Command(action=Action.ASSIGN, assignee="bob"),
        actor=Actor("alice", "person"),
        expected_version=None,
    )

    (change,) = read_changes(pool, before).changes
    assert json.loads(change.alert)["assignee"] == "bob"
