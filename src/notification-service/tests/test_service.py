"""The service as a process: messages in, alerts out, and what happens when things break."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from auditflow.contract import acceptance, finding_message
from auditflow.contract import finding as findings


def _count(api: httpx.Client) -> int:
    answer = api.get("/alerts", params={"limit": 1})
    return int(answer.json()["counts"]["total"]) if answer.status_code == 200 else -1


def test_a_finding_becomes_an_alert(
    broker: Any, api: httpx.Client, service: Any, make_finding: Any, eventually: Any
) -> None:
    finding = make_finding(correlation_id="corr-7")
    trace = "0af7651916cd43dd8448eb211c80319c"

    broker.send(finding, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})

    (summary,) = eventually(lambda: api.get("/alerts").json()["alerts"])
    assert summary["title"] == "Title of failed-logins"
    detail = api.get(f"/alerts/{summary['alert_id']}").json()
    assert {key: detail[key] for key in summary} == summary
    (shown,) = detail["findings"]
    assert shown["finding_id"] == str(finding.finding_id)
    assert shown["evidence"]["first_event"] == msgspec.json.decode(finding.evidence.first_event)
    # and the log continues the trace
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    (stored,) = [line for line in lines if line["event"] == "finding stored"]
    assert (stored["trace_id"], stored["correlation_id"]) == (trace, "corr-7")
    assert (stored["alert_id"], stored["outcome"]) == (summary["alert_id"], "new")
    (folded,) = [line for line in lines if line["event"] == "findings stored"]
    assert (folded["new"], folded["opened"], folded["refused"]) == (1, 1, 0)


def _changed(raw: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(raw), **fields}).encode()


def _without(raw: bytes, field: str) -> bytes:
    document = json.loads(raw)
    del document[field]
    return json.dumps(document).encode()


def _event(raw: bytes, event: bytes) -> bytes:
    """The finding with another first event, byte by byte."""
    return _changed(raw, evidence={"events": [], "first_event": 0}).replace(
        b'"events": [], "first_event": 0',
        b'"events": [{"event_id": "e", "timestamp": "2026-01-31T00:00:00Z"}],'
        b' "first_event": ' + event,
    )


#: What is sent for a finding, and the reason that its dead letter gives; None: it is stored.
MESSAGES: dict[str, tuple[Any, str | None]] = {
    "empty": (lambda raw: b"", "the message is empty"),
    "malformed": (lambda raw: raw[:-5], "truncated"),
    "two documents": (lambda raw: raw + raw, "trailing characters"),
    "an array": (lambda raw: b"[" + raw + b"]", None),
    "an empty array": (lambda raw: b"[]", "the array has 0 elements"),
    "a truncated array": (lambda raw: b"[" + raw, "truncated"),
    "an array of too many": (lambda raw: b"[" + b",".join([raw[:1] + b"}"] * 1001) + b"]",
                             "the array has 1001 elements"),
    "a number": (lambda raw: b"7", "Expected `object`, got `int`"),
    "null": (lambda raw: b"null", "Expected `object`, got `null`"),
    "a missing field": (lambda raw: _without(raw, "rule"), "missing required field `rule`"),
    "a wrong type": (lambda raw: _changed(raw, actor=7), "at `$.actor`"),
    "a wrong severity": (lambda raw: _changed(raw, severity="HIGH"), "at `$.severity`"),
    "no uuid": (lambda raw: _changed(raw, finding_id="f-1"), "Invalid UUID - at `$.finding_id`"),
    "count 0": (lambda raw: _changed(raw, count=0), "at `$.count`"),
    "a fraction": (lambda raw: _changed(raw, count=1.5), "at `$.count`"),
    "5,000 digits": (lambda raw: raw.replace(b'"count":3', b'"count":' + b"9" * 5000), "$.count"),
    "NaN": (lambda raw: raw.replace(b'"count":3', b'"count":NaN'), "invalid character"),
    "5,000 digits inside": (lambda raw: _event(raw, b"9" * 5000), "out of range"),
    "NaN inside": (lambda raw: _event(raw, b'{"x": NaN}'), "malformed"),
    "an entity of numbers": (lambda raw: _changed(raw, entity={"n": 1}), "at `$.entity"),
    "NUL": (lambda raw: _changed(raw, actor="a\0b"), "NUL character"),
    "NUL inside": (lambda raw: _event(raw, b'{"x": "\\u0000"}'), "NUL character"),
    "an escaped backslash": (lambda raw: _event(raw, b'{"x": "\\\\u0000"}'), None),
    "invalid UTF-8": (lambda raw: raw.replace(b"sshd", b"ss\xff\xfe"), "not UTF-8"),
    "a lone surrogate": (lambda raw: raw.replace(b"sshd", b"\\ud800x"), "surrogate"),
    "a lone surrogate inside": (lambda raw: _event(raw, b'{"x": "\\udc00x"}'), "surrogate"),
    "naive time": (lambda raw: _changed(raw, last_seen="2026-01-31T08:00:00"), "$.last_seen"),
    "garbage time": (lambda raw: _changed(raw, last_seen="soon"), "$.last_seen"),
    "future": (lambda raw: _changed(raw, last_seen="2999-01-01T00:00:00Z"), "a day ahead"),
    "year 1": (lambda raw: _changed(raw, first_seen="0001-01-01T00:00:00+14:00"), "before 1970"),
    "backwards": (lambda raw: _changed(raw, last_seen="2020-01-01T00:00:00Z"), "after last_seen"),
    "long ago": (
        lambda raw: _changed(raw, first_seen="1971-01-01T00:00:00Z",
                             bucket_start="1971-01-01T00:00:00Z"), None,
    ),
    "no evidence": (lambda raw: _changed(raw, evidence={"events": []}), "$.evidence.events"),
    "deep": (lambda raw: _event(raw, b"[" * 5000 + b"]" * 5000), "nested deeper than"),
    "deep, unclosed": (lambda raw: _event(raw, b"[" * 100_000), "nested deeper than"),
    "over 1 MiB": (lambda raw: _changed(raw, description="x" * 2**20), "more than the 1048576"),
    "nearly 1 MiB": (lambda raw: _changed(raw, actor="x" * (2**20 - 2000)), None),
    "a long host name for an address": (lambda raw: _changed(raw, client_ip="h" * 5000), None),
    "an odd address": (lambda raw: _changed(raw, client_ip="::ffff:999.1.1.1%eth0"), None),
    "emoji and quotes": (lambda raw: _changed(raw, actor="🙂'\"\\; DROP TABLE alerts; --"), None),
    "unknown fields": (lambda raw: _changed(raw, later={"version": 2}), None),
    "no entity": (lambda raw: _changed(raw, entity={}), None),
    "empty texts": (lambda raw: _changed(raw, description="", environment=""), None),
    "1,000 fields of an entity": (
        lambda raw: _changed(raw, entity={f"field-{n}": "v" * 600 for n in range(1000)}), None,
    ),
}  # fmt: skip


def test_every_odd_message_ends_stored_or_set_aside_and_good_ones_arrive(
    broker: Any, api: httpx.Client, make_finding: Any, eventually: Any, query: Any
) -> None:
    # given good findings among messages of all odd kinds
    sent: dict[bytes, str] = {}
    for number, (kind, (make, _)) in enumerate(MESSAGES.items()):
        body = make(findings.encode(make_finding(user=f"odd-{number}", count=3)))
        sent[body] = kind
        broker.send(body, make_finding(user=f"good-{number}"))

    # when the service has seen them all
    stored = "SELECT count(*) FROM findings"
    expected = len(MESSAGES) + sum(reason is None for _, reason in MESSAGES.values())
    eventually(lambda: query(stored) == [(expected,)])

    # then the rest is set aside, each with its reason, and nothing goes round
    dead = {}
    for body, headers in broker.dead_letters():
        assert headers["x-auditflow-kind"] == "contract"
        dead[sent[body]] = headers["x-auditflow-reason"]
    reasons = {kind: reason for kind, (_, reason) in MESSAGES.items() if reason is not None}
    assert dead.keys() == reasons.keys()
    for kind, reason in reasons.items():
        assert reason in dead[kind], kind
    assert broker.waiting() == 0
    # and the lists and details of what was stored can be read
    listed = api.get("/alerts", params={"limit": 200})
    assert len(listed.json()["alerts"]) == expected
    assert len(listed.content) < 200_000
    for alert in listed.json()["alerts"]:
        assert api.get(f"/alerts/{alert['alert_id']}").status_code == 200
    metrics = api.get("/metrics").text
    assert f'auditflow_findings_stored_total{{outcome="new"}} {expected}.0' in metrics
    assert (
        f'auditflow_dead_letters_total{{kind="contract",queue="audit_alerts"}} {len(reasons)}.0'
        in metrics
    )


def test_a_finding_under_the_identifier_of_another_is_set_aside(
    broker: Any, api: httpx.Client, make_finding: Any, eventually: Any
) -> None:
    original = make_finding()
    broker.send(original)
    eventually(lambda: _count(api) == 1)

    broker.send(
        msgspec.structs.replace(original, entity={"user_id": "mallory"}), make_finding(user="bob")
    )

    eventually(lambda: _count(api) == 2)
    ((_, headers),) = eventually(broker.dead_letters)
    assert headers["x-auditflow-reason"].endswith("belongs to another rule or entity")


def test_a_poison_message_takes_no_other_with_it(
    broker: Any, api: httpx.Client, make_finding: Any, eventually: Any, query: Any
) -> None:
    # given a database that refuses one user, as a defect of the service would cause
    query("ALTER TABLE alerts ADD CONSTRAINT no_poison CHECK (actor <> 'poison')")

    broker.send(*(make_finding(user=user) for user in ("alice", "poison", "bob")))

    eventually(lambda: _count(api) == 2)
    ((body, headers),) = eventually(broker.dead_letters)
    assert json.loads(body)["actor"] == "poison"
    assert headers["x-auditflow-kind"] == "poison"


def test_findings_of_a_message_are_refused_one_by_one(
    broker: Any, api: httpx.Client, service: Any, make_finding: Any, eventually: Any, query: Any
) -> None:
    # given a database that refuses one user, as a defect of the service would cause
    query("ALTER TABLE alerts ADD CONSTRAINT no_poison CHECK (actor <> 'poison')")
    users = ("alice", "bob", "carol", "poison", "dave")
    encoded = {user: findings.encode(make_finding(user=user)) for user in users}
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers: dict[str, str | int] = {
        "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        acceptance.HEADER: 1,
    }
    # and a message that also has findings and elements that violate the contract
    invalid = _changed(encoded["bob"], count=0)
    message = (
        b"[7,%s]"
        % finding_message.encode(
            [
                (encoded["alice"], headers),
                (invalid, {}),
                *((encoded[user], {}) for user in users[2:]),
            ]
        )[1:-1]
    )

    broker.send(message)

    # then all others are stored
    eventually(lambda: _count(api) == 3)
    listed = {alert["actor"] for alert in api.get("/alerts").json()["alerts"]}
    assert listed == {"alice", "carol", "dave"}
    # and each of the three is a dead letter of its own, which has no other finding
    dead: dict[bytes, dict[str, Any]] = {}
    eventually(lambda: dead.update(broker.dead_letters()) or len(dead) == 3)
    assert dead[b"7"]["x-auditflow-reason"].startswith("Expected `object`, got `int`")
    assert "at `$.count`" in dead[invalid]["x-auditflow-reason"]
    assert dead[encoded["poison"]]["x-auditflow-kind"] == "poison"
    # and each finding has its own trace and time of acceptance
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    traces = {
        line["alert_id"]: line["trace_id"] for line in lines if line["event"] == "finding stored"
    }
    (alice,) = (a for a in api.get("/alerts").json()["alerts"] if a["actor"] == "alice")
    assert [alert_id for alert_id, found in traces.items() if found == trace] == [alice["alert_id"]]
    assert "auditflow_event_to_alert_seconds_count 1.0" in api.get("/metrics").text


def test_all_findings_of_large_messages_are_stored_once(
    broker: Any, api: httpx.Client, make_finding: Any, eventually: Any
) -> None:
    encoded = [findings.encode(make_finding(user=f"user-{number}")) for number in range(600)]

    broker.send(*(finding_message.encode([(body, {}) for body in encoded]) for _ in range(2)))

    eventually(lambda: _count(api) == 600)
    eventually(lambda: broker.waiting() == 0)
    assert broker.dead_letters() == []


def test_the_database_restarts_under_load(
    broker: Any, api: httpx.Client, service: Any, postgres: Any, make_finding: Any, eventually: Any
) -> None:
    broker.send(make_finding(user="before"))
    eventually(lambda: _count(api) == 1)

    # when the database is away
    postgres.stop()
    try:
        broker.send(*(make_finding(user=f"user-{n}", bucket=n) for n in range(500)))
        started = time.monotonic()
        answer = api.get("/alerts")
        elapsed = time.monotonic() - started
        ready = eventually(lambda: (state := api.get("/readyz")).status_code == 503
            and state.json()["dependencies"]["postgresql"]["state"] == "down" and state)  # fmt: skip
        alive = api.get("/healthz").status_code
    finally:
        postgres.start()

    # then clients are told so, at once, and never shown an empty list
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert elapsed < 1.5
    assert ready.status_code == 503
    assert alive == 200
    # and afterwards everything is there, by itself
    eventually(lambda: _count(api) == 501)
    eventually(lambda: api.get("/readyz").status_code == 200)
    assert broker.dead_letters() == []


@contextmanager
def _hanging(postgres: Any) -> Iterator[None]:
    """A server that takes connections and never answers."""
    family = [psutil.Process(postgres.pid), *psutil.Process(postgres.pid).children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            process.resume()


def test_a_database_that_hangs_is_reported(
    broker: Any, api: httpx.Client, postgres: Any, make_finding: Any, eventually: Any
) -> None:
    broker.send(make_finding())
    eventually(lambda: _count(api) == 1)

    with _hanging(postgres):
        eventually(lambda: api.get("/readyz").status_code == 503, seconds=3)
        started = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            requests = [threads.submit(api.get, "/alerts") for _ in range(8)]
            answers = [request.result() for request in requests]
            elapsed = time.monotonic() - started

    assert {answer.status_code for answer in answers} == {503}
    assert elapsed < 6
    eventually(lambda: _count(api) == 1)


def test_the_broker_restarts(
    broker: Any, api: httpx.Client, rabbitmq: Any, make_finding: Any, eventually: Any
) -> None:
    broker.send(make_finding())
    eventually(lambda: _count(api) == 1)

    rabbitmq.stop()
    state = eventually(lambda: (now := api.get("/readyz")).status_code == 503 and now.json())
    assert state["dependencies"]["rabbitmq"]["state"] == "down"
    assert _count(api) == 1
    rabbitmq.start()

    eventually(lambda: api.get("/readyz").status_code == 200)
    again = type(broker)(rabbitmq)
    again.send(make_finding(user="after"))
    eventually(lambda: _count(api) == 2)
    again.close()


def test_killed_in_the_middle_nothing_is_lost_or_twice(
    broker: Any, service: Any, api: httpx.Client, make_finding: Any, query: Any, eventually: Any
) -> None:
    broker.send(*(make_finding(user=f"user-{n % 50}", bucket=n // 50) for n in range(2000)))
    eventually(lambda: query("SELECT count(*) FROM findings")[0][0] > 200)

    service.kill()
    service.start()

    eventually(lambda: query("SELECT count(*) FROM findings") == [(2000,)])
    assert query("SELECT count(*), sum(finding_count), sum(count) FROM alerts") == [
        (50, 2000, 6000)
    ]


@pytest.mark.soak
def test_40_000_findings_wait_at_the_start(
    broker: Any,
    service_process: Any,
    database: Any,
    service_secrets: dict[str, str],
    make_finding: Any,
    query: Any,
    record_testsuite_property: Any,
) -> None:
    # given a backlog
    broker.send(
        *(
            make_finding(user=f"user-{number % 4000:04}", bucket=number // 4000)
            for number in range(40_000)
        )
    )

    # when the service starts
    service = service_process("notification-service", rabbitmq=broker.server, database=database)
    process = psutil.Process(service.pid)
    headers = {"Authorization": f"Bearer {service_secrets['API_TOKEN']}"}
    slowest = highest = 0.0
    started = time.monotonic()
    with httpx.Client(base_url=service.url, headers=headers, timeout=10, verify=False) as api:
        while query("SELECT sum(finding_count) FROM alerts") != [(40_000,)]:
            requests = time.monotonic()
            assert api.get("/alerts", params={"q": "user"}).status_code == 200
            slowest = max(slowest, time.monotonic() - requests)
            highest = max(highest, process.memory_info().rss)
            assert time.monotonic() - started < 90
            time.sleep(0.25)  # a few clients, not a load test
    elapsed = time.monotonic() - started

    # then all is stored, in bounded memory, and the API answered meanwhile
    record_testsuite_property("findings_per_second", round(40_000 / elapsed))
    record_testsuite_property("memory_mib", round(highest / 2**20))
    record_testsuite_property("slowest_answer_seconds", round(slowest, 3))
    assert query("SELECT count(*) FROM findings") == [(40_000,)]
    assert query("SELECT count(*) FROM alerts") == [(4_000,)]
    assert highest < 128 * 2**20
    assert slowest < 2


def test_it_stops_in_order_within_ten_seconds(
    broker: Any, service: Any, make_finding: Any, eventually: Any, query: Any
) -> None:
    broker.send(*(make_finding(user=f"user-{n}") for n in range(1000)))
    eventually(lambda: query("SELECT count(*) FROM findings")[0][0] > 0)

    started = time.monotonic()
    service.stop()

    assert time.monotonic() - started < 10
    assert service.exit_code == 0
    # what it had not acknowledged is back in the queue
    stored = query("SELECT count(*) FROM findings")[0][0]
    eventually(lambda: stored + broker.waiting() >= 1000)


def test_it_stops_in_time_though_the_database_hangs(
    broker: Any, service: Any, api: httpx.Client, postgres: Any, make_finding: Any, eventually: Any
) -> None:
    assert _count(api) == 0
    with _hanging(postgres), ThreadPoolExecutor(6) as threads:
        broker.send(make_finding())
        for _ in range(6):
            threads.submit(_count, api).add_done_callback(lambda done: done.exception())
        eventually(lambda: api.get("/readyz").status_code == 503, seconds=3)
        started = time.monotonic()
        service.stop()
        elapsed = time.monotonic() - started

    assert (service.exit_code, elapsed < 10) == (0, True)


@pytest.mark.parametrize("variable", ["API_TOKEN", "PG_USER", "RABBITMQ_PASS"])
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    complete = dict.fromkeys(
        ("API_TOKEN", "PG_USER", "PG_PASSWORD", "RABBITMQ_USER", "RABBITMQ_PASS"), "x"
    )
    del complete[variable]

    done = subprocess.run(
        [str(Path(sys.executable).parent / "notification-service")],
        env=complete, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert f"{variable}: is not set" in done.stderr
