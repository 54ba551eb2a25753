"""The service as a process: messages become alerts, also when servers fail."""

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

from auditflow.contract import finding as findings
from auditflow.contract import finding_message


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

    # when the database is unavailable
    postgres.stop()
    try:
        broker.send(*(make_finding(user=f"user-{n}", bucket=n) for n in range(500)))
        answer = api.get("/alerts")
        ready = eventually(lambda: (state := api.get("/readyz")).status_code == 503
            and state.json()["dependencies"]["postgresql"]["state"] == "down" and state)  # fmt: skip
        alive = api.get("/healthz").status_code
    finally:
        postgres.start()

    # then clients get an error at once, and never an empty list
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.headers["Content-Type"] == "application/problem+json"
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
        eventually(lambda: api.get("/readyz").status_code == 503)
        with ThreadPoolExecutor(8) as threads:
            requests = [threads.submit(api.get, "/alerts") for _ in range(8)]
            answers = [request.result() for request in requests]

    assert {answer.status_code for answer in answers} == {503}
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


def test_no_finding_is_lost_or_stored_twice_when_the_service_is_killed(
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
    with httpx.Client(base_url=service.url, headers=headers, timeout=60, verify=False) as api:
        while query("SELECT sum(finding_count) FROM alerts") != [(40_000,)]:
            requests = time.monotonic()
            assert api.get("/alerts", params={"q": "user"}).status_code == 200
            slowest = max(slowest, time.monotonic() - requests)
            highest = max(highest, process.memory_info().rss)
            time.sleep(0.25)  # a few clients, not a load test
    elapsed = time.monotonic() - started

    # then all is stored, in bounded memory, and the API answered meanwhile
    record_testsuite_property("findings_per_second", round(40_000 / elapsed))
    record_testsuite_property("memory_mib", round(highest / 2**20))
    record_testsuite_property("slowest_answer_seconds", round(slowest, 3))
    assert query("SELECT count(*) FROM findings") == [(40_000,)]
    assert query("SELECT count(*) FROM alerts") == [(4_000,)]
    assert highest < 144 * 2**20  # 115 MiB at rest, 4 for kept lists, and two transactions


def test_it_stops_in_order(
    broker: Any, service: Any, make_finding: Any, eventually: Any, query: Any
) -> None:
    broker.send(*(make_finding(user=f"user-{n}") for n in range(1000)))
    eventually(lambda: query("SELECT count(*) FROM findings")[0][0] > 0)

    service.stop()

    assert service.exit_code == 0
    # what it had not acknowledged is back in the queue
    stored = query("SELECT count(*) FROM findings")[0][0]
    eventually(lambda: stored + broker.waiting() >= 1000)


def test_the_service_stops_while_the_database_hangs(
    broker: Any, service: Any, api: httpx.Client, postgres: Any, make_finding: Any, eventually: Any
) -> None:
    assert _count(api) == 0
    with _hanging(postgres), ThreadPoolExecutor(6) as threads:
        broker.send(make_finding())
        for _ in range(6):
            threads.submit(_count, api).add_done_callback(lambda done: done.exception())
        eventually(lambda: api.get("/readyz").status_code == 503)
        service.stop()

    assert service.exit_code == 0


@pytest.mark.parametrize("variable", ["API_TOKEN", "PG_USER", "RABBITMQ_PASS"])
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    complete = dict.fromkeys(
        ("API_TOKEN", "PG_USER", "PG_PASSWORD", "RABBITMQ_USER", "RABBITMQ_PASS"), "x"
    )
    del complete[variable]

    done = subprocess.run(
        [str(Path(sys.executable).parent / "notification-service")],
        env=complete, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert f"{variable}: is not set" in done.stderr
