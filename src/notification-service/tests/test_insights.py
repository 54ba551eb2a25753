"""Counts, facets, risk and events of alerts, on the real database."""

import asyncio
import datetime as dt
import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from auditflow.contract.alert import Action, Verdict
from auditflow.contract.finding import EventRef, Evidence, Finding
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.database import candidates, facets, observable_facets, sampling
from notification_service.database.alert_reader import AlertReader
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.triage_store import TriageStore
from notification_service.history import Actor
from notification_service.metrics import Metrics
from notification_service.triage import Command

ALICE = Actor("alice", "person")


Get = Callable[..., tuple[int, Any]]


@pytest.fixture
def get(make_stores: Any) -> Get:
    registry = CollectorRegistry()
    tokens = Tokens(SecretStr("t0ken"))
    app = application.create(
        make_stores(),
        Health({}),
        registry,
        Metrics(registry),
        tokens=tokens,
    )

    def get(path: str, **parameters: Any) -> tuple[int, Any]:
        async def ask() -> tuple[int, Any]:
            client: Any = app.test_client()
            answer = await client.get(
                f"/api/v1{path}?{urlencode(parameters)}",
                headers={"Authorization": "Bearer t0ken"},
            )
            return answer.status_code, json.loads(await answer.get_data())

        return asyncio.run(ask())

    return get


@pytest.fixture
def pool(reader: AlertReader) -> Pool:
    return reader.pool


def _resolve(store: TriageStore, alert: Any, verdict: Verdict) -> None:
    command = Command(action=Action.RESOLVE, verdict=verdict)
    store.act(alert.alert_id, command, actor=ALICE, expected_version=None)


def test_facets_and_total_cover_the_complete_filter(
    store: FindingStore, triage_store: TriageStore, get: Get, pool: Pool, make_finding: Any
) -> None:
    # given alerts of two rules, one of them resolved
    opened = store.store(
        [
            make_finding(user="alice", level="critical"),
            make_finding(user="bob"),
            make_finding(user="bob", rule="sudo", level="low", environment="staging"),
        ]
    ).opened
    _resolve(triage_store, opened[1], Verdict.BENIGN)

    for _ in range(2):  # before and after the counts are merged
        assert get("/alerts/total") == (200, {"total": 3, "exact": True})
        assert get("/alerts/total", status="open") == (200, {"total": 2, "exact": True})
        assert get("/alerts/total", actor="b*", level="low")[1]["total"] == 1
        code, found = get("/alerts/facets", status="open,resolved")
        assert code == 200
        assert {it["value"]: it["count"] for it in found["status"]} == {"open": 2, "resolved": 1}
        assert {it["value"]: it["count"] for it in found["level"]} == {
            "critical": 1, "high": 1, "low": 1,
        }  # fmt: skip
        assert {it["value"]: it["count"] for it in found["severity"]} == {
            "CRITICAL": 1, "WARNING": 1, "INFO": 1,
        }  # fmt: skip
        assert found["rule"][0] == {
            "value": "failed-logins", "count": 2, "label": "Title of failed-logins", "filter": None,
        }  # fmt: skip
        assert found["verdict"] == [{"value": "benign", "count": 1, "label": None, "filter": None}]
        assert get("/alerts/facets", actor="BOB")[1]["total"] == 2
        facets.merge_counts(pool)


def _counts(found: list[dict[str, Any]]) -> dict[str, int]:
    return {it["value"]: it["count"] for it in found}


@pytest.mark.parametrize("name", ["svc-*", "svc-\\*", "svc-\\\\*", "*", "svc-*\\"])
def test_a_facet_value_selects_exactly_its_alerts(
    store: FindingStore, get: Get, make_finding: Any, name: str
) -> None:
    # given users whose names contain the characters of prefixes, and others that begin alike
    store.store([make_finding(user=user) for user in (name, "svc-1", "svc-\\1", name + "x")])

    facets = get("/alerts/facets")[1]["actor"]
    (facet,) = [it for it in facets if it["value"] == name]
    found = get("/alerts", actor=facet["filter"] or facet["value"])[1]["alerts"]

    assert [alert["actor"] for alert in found] == [name]


def test_facets_count_the_observables_of_all_findings(
    store: FindingStore, get: Get, make_finding: Any
) -> None:
    # given an alert of two users and two hosts, and an alert of a third user
    entity = {"client_ip": "203.0.113.7"}
    store.store(
        [
            make_finding(user="Alice", entity=entity, server_hostname="web-1"),
            make_finding(user="bob", entity=entity, server_hostname="web-2", bucket=1),
            make_finding(user="carol", rule="sudo", client_ip="203.0.113.8"),
        ]
    )

    code, found = get("/alerts/facets")

    assert (code, found["total"], found["sampled"]) == (200, 2, None)
    assert _counts(found["actor"]) == {"alice": 1, "bob": 1, "carol": 1}
    assert _counts(found["host"]) == {"web-1": 2, "web-2": 1}
    assert _counts(found["ip"]) == {"203.0.113.7": 1, "203.0.113.8": 1}
    of_bob = get("/alerts/facets", actor="bob")[1]
    assert _counts(of_bob["actor"]) == {"alice": 1, "bob": 1}
    assert get("/alerts/facets", host="nowhere")[1]["actor"] == []


def test_facets_of_many_alerts_are_estimates_from_a_random_sample(
    store: FindingStore, get: Get, make_finding: Any, monkeypatch: Any
) -> None:
    # given 300 alerts of a common host, a third of them from a common address
    findings = [
        make_finding(user=f"user-{number}", client_ip=f"203.0.113.{number if number % 3 else 0}")
        for number in range(300)
    ]
    store.store(findings)
    monkeypatch.setattr(observable_facets, "MAX_EXACT", 299)
    monkeypatch.setattr(observable_facets, "SAMPLE", 150)
    monkeypatch.setattr(sampling, "LARGEST_PART", 1)

    found = get("/alerts/facets")[1]

    # then values of few alerts are not listed, and the numbers are near the true ones
    assert (found["total"], found["actor"]) == (300, [])
    assert 100 < found["sampled"] < 200
    assert _counts(found["host"]) == {"web-1": 300}
    ((address, number),) = _counts(found["ip"]).items()
    assert (address, 60 < number < 140) == ("203.0.113.0", True)
    monkeypatch.setattr(observable_facets, "SAMPLE", 1)
    assert get("/alerts/facets")[1]["host"] == []


def test_the_numbers_of_a_text_in_many_alerts_are_estimates(
    store: FindingStore, get: Get, make_finding: Any, monkeypatch: Any
) -> None:
    # given 400 alerts, a quarter of which contain a text
    store.store(
        [
            make_finding(user=f"user-{n}", description="odd login" if n % 4 == 0 else "login",
                         server_hostname=f"web-{n % 2}")
            for n in range(400)
        ]
    )  # fmt: skip
    assert get("/alerts/total", q="odd")[1] == {"total": 100, "exact": True}
    monkeypatch.setattr(candidates, "MOST", 10)
    monkeypatch.setattr(facets, "MAX_SEARCHED", 399)
    monkeypatch.setattr(facets, "SEARCHED_SAMPLE", 200)
    monkeypatch.setattr(sampling, "LARGEST_PART", 1)

    found = get("/alerts/facets", q="odd")[1]

    assert (found["exact"], 50 < found["total"] < 150) == (False, True)
    assert 25 < found["sampled"] < 75
    assert _counts(found["status"]) == {"open": found["total"]}
    assert abs(_counts(found["host"])["web-0"] - found["total"]) <= 1
    total = get("/alerts/total", q="odd")[1]
    assert total == {"total": found["total"], "exact": False}
    # and a filter that selects fewer alerts is exact
    assert get("/alerts/total", q="odd", host="web-0")[1] == {"total": 100, "exact": True}
    assert get("/alerts/facets", q="nothing")[1]["total"] == 0


def test_all_alerts_that_were_active_in_a_range_are_found(
    store: FindingStore, get: Get, query: Any, make_finding: Any, now: Any
) -> None:
    # given alerts with any begin and any end, in hours
    hours = [(begin, end) for begin in range(-30, 1, 2) for end in range(begin, 1, 2)]
    store.store(
        [
            make_finding(user=f"user{begin}to{end}", at=now + dt.timedelta(hours=begin))
            for begin, end in hours
        ]
    )
    for begin, end in hours:
        query(
            "UPDATE alerts SET first_seen = %s, last_seen = %s WHERE actor = %s",
            now + dt.timedelta(hours=begin), now + dt.timedelta(hours=end), f"user{begin}to{end}",
        )  # fmt: skip

    for since, until in [(-20, -18), (-20, -20), (-30, 0), (-9, -2), (None, -14), (-7, None)]:
        criteria = {
            name: (now + dt.timedelta(hours=hour)).isoformat()
            for name, hour in (("since", since), ("until", until))
            if hour is not None
        }
        expected = {
            f"user{begin}to{end}"
            for begin, end in hours
            if (since is None or end >= since) and (until is None or begin <= until)
        }
        page = get("/alerts", limit=200, **criteria)[1]["alerts"]
        assert [alert["last_seen"] for alert in page] == sorted(
            (alert["last_seen"] for alert in page), reverse=True
        )
        assert {alert["actor"] for alert in page} == expected
        assert len(page) == len(expected)
        assert get("/alerts/facets", **criteria)[1]["total"] == len(expected)


def test_a_technique_selects_the_alerts_of_its_rules(
    store: FindingStore, get: Get, pool: Pool, make_finding: Any
) -> None:
    def finding(rule: str, *tags: str) -> Any:
        made = make_finding(rule=rule)
        return msgspec.structs.replace(made, rule=msgspec.structs.replace(made.rule, tags=tags))

    store.store(
        [
            finding("guess", "attack.credential_access", "attack.t1110.001"),
            finding("spray", "attack.T1110.003", "attack.t1078"),
            finding("sudo", "attack.t1548"),
            finding("other", "attack.t11100", "cve.2026.1"),
        ]
    )

    for _ in range(2):  # before and after the counts are merged
        found = get("/alerts/facets")[1]
        expected = {"T1110": 2, "T1110.001": 1, "T1110.003": 1, "T1078": 1, "T1548": 1}
        assert _counts(found["technique"]) == expected
        for technique, count in expected.items():
            assert get("/alerts/total", technique=technique)[1]["total"] == count, technique
            listed = get("/alerts", technique=technique.lower())[1]["alerts"]
            assert len(listed) == count, technique
        facets.merge_counts(pool)
    assert get("/alerts/total", technique="T1110", actor="alice")[1]["total"] == 2
    assert get("/alerts/total", technique="T9999")[1]["total"] == 0
    for refused in ("t1110%", "T111", "T1110.1", "T1110\n", "attack.t1110", ""):
        assert get("/alerts/total", technique=refused)[0] == 400, refused


def test_counts_stay_exact_under_concurrent_changes_and_merges(
    database: Any, open_pool: Any, make_finding: Any, query: Any
) -> None:
    def write(seed: int) -> None:
        store, triage = FindingStore(open_pool(database)), TriageStore(open_pool(database))
        rng = random.Random(seed)
        for turn in range(15):
            findings = [make_finding(user=f"user-{rng.randrange(10)}", bucket=seed * 100 + turn)]
            for alert in store.store(findings).opened:
                if rng.random() < 0.5:
                    _resolve(triage, alert, Verdict.BENIGN)

    def merge(_: int) -> None:
        own = open_pool(database)
        for _turn in range(20):
            facets.merge_counts(own)

    with ThreadPoolExecutor(5) as threads:
        for done in [
            *(threads.submit(write, seed) for seed in range(3)),
            *(threads.submit(merge, number) for number in range(2)),
        ]:
            done.result(timeout=60)

    assert query(
        "SELECT status, sum(number)::bigint FROM alert_counts GROUP BY 1 HAVING sum(number) <> 0"
        " ORDER BY 1"
    ) == query("SELECT status, count(*) FROM alerts GROUP BY 1 ORDER BY 1")


def test_the_risk_is_the_sum_of_its_parts(
    store: FindingStore, triage_store: TriageStore, get: Get, make_finding: Any, now: dt.datetime
) -> None:
    # given alerts of alice: recent ones, an old one, and a false positive
    long_ago = now - dt.timedelta(days=8)
    opened = store.store(
        [
            make_finding(rule="a", level="critical"),
            make_finding(rule="b", level="medium"),
            make_finding(rule="c", level="high"),
            make_finding(rule="d", level="critical", at=long_ago),
            make_finding(rule="a", user="bob"),
        ]
    ).opened
    _resolve(triage_store, opened[2], Verdict.FALSE_POSITIVE)
    _resolve(triage_store, opened[1], Verdict.BENIGN)

    code, found = get("/risk", kind="user", value="ALICE")

    assert (code, found["risk"], found["alerts"]) == (200, 110, 2)
    assert [(it["level"], it["points"]) for it in found["parts"]] == [
        ("critical", 100), ("medium", 10),
    ]  # fmt: skip
    assert get("/risk", kind="user", value="nobody")[1]["risk"] == 0
    assert get("/risk", kind="user")[0] == 400
    assert get("/risk", kind="person", value="alice")[0] == 400


def test_every_event_of_an_alert_is_listed_once_and_complete_ones_can_be_read(
    store: FindingStore, get: Get, make_finding: Any, now: dt.datetime
) -> None:
    # given two findings that share events, with complete first and last events
    def finding(bucket: int, numbers: range) -> Finding:
        refs = tuple(EventRef(now - dt.timedelta(seconds=200 - n), f"e{n}") for n in numbers)

        def event(ref: EventRef) -> msgspec.Raw:
            return msgspec.Raw(
                msgspec.json.encode(
                    {"event_id": ref.event_id, "timestamp": ref.timestamp, "event_type": "login",
                     "user_id": "alice", "details": {"ip_address": "203.0.113.9"},
                     "action_result": "FAILURE"}
                )
            )  # fmt: skip

        evidence = Evidence(refs, event(refs[0]), event(refs[-1]))
        return make_finding(
            bucket=bucket, evidence=evidence, count=len(refs), first_seen=refs[0].timestamp,
            last_seen=refs[-1].timestamp,
        )  # fmt: skip

    (opened,) = store.store([finding(0, range(90))]).opened
    store.store([finding(1, range(70, 150))])

    # when all pages are read
    rows: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        code, page = get(f"/alerts/{opened.alert_id}/events", **cursor)
        assert code == 200
        rows += page["events"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    # then each event is there once, the latest first
    assert [row["event_id"] for row in rows] == [f"e{n}" for n in reversed(range(150))]
    complete = [row for row in rows if row["has_record"]]
    assert {row["event_id"] for row in complete} == {"e0", "e89", "e70", "e149"}
    assert {(row["user"], row["address"], row["result"]) for row in complete} == {
        ("alice", "203.0.113.9", "FAILURE")
    }
    assert get(f"/alerts/{opened.alert_id}/event", event_id="e89")[1]["event_type"] == "login"
    assert get(f"/alerts/{opened.alert_id}/event", event_id="e1")[0] == 404
    assert get(f"/alerts/{opened.alert_id}/events", cursor="nonsense")[0] == 400


def test_a_slow_request_is_not_reported_as_an_outage(
    get: Get, monkeypatch: pytest.MonkeyPatch, pool: Pool
) -> None:
    def slow(*_: Any) -> Any:
        with pool.cursor() as cursor:
            cursor.execute("SET statement_timeout = 1")
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr(facets, "read_facets", slow)

    code, problem = get("/alerts/facets")

    assert code == 503
    assert problem["detail"].startswith("The request took too long. Use a narrower filter")
