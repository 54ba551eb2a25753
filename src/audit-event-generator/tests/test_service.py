"""The real service with a real broker: what is promised to clients holds under load and faults."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pika
import pytest

from audit_event_generator.delivery import CONFIRM_SECONDS
from auditflow.amqp import topology
from auditflow.contract import event

from .conftest import DATA, eventually, sample

NAME = "audit-event-generator"
CLIENTS, SECONDS = 16, 1.0
Start = Callable[..., Any]


@pytest.fixture
def headers(service_secrets: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {service_secrets['INGEST_TOKEN']}"}


@pytest.fixture
def client(
    rabbitmq: Any, service_process: Start, headers: dict[str, str]
) -> Iterator[httpx.Client]:
    """A client of a service that is ready, with nothing in the queue."""
    stored(rabbitmq)
    service = service_process(NAME, rabbitmq=rabbitmq)
    with _client(service.url, headers) as one:
        yield one


def _client(url: str, headers: dict[str, str]) -> httpx.Client:
    # Plain HTTP: to load certificates would take each of them 20 ms.
    return httpx.Client(base_url=url, headers=headers, timeout=10, verify=False)


def stored(rabbitmq: Any) -> list[event.Event]:
    """Every event that is in the queue, taken out of it."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url("auditflow-admin")))
    channel = connection.channel()
    events = []
    while True:
        method, _, body = channel.basic_get(topology.EVENTS, auto_ack=True)
        if method is None:
            break
        for one in event.decode_message(body):
            assert isinstance(one, event.Received), one
            events.append(one.event)
    connection.close()
    return events


def accepted(url: str, source: str) -> int:
    text = httpx.get(f"{url}/metrics", verify=False).text
    [line] = [one for one in text.splitlines()
              if one.startswith(f'auditflow_events_accepted_total{{source="{source}"}}')]  # fmt: skip
    return int(float(line.split()[-1]))


class Load:
    """Clients that post events until told to stop, and remember what they were told."""

    def __init__(self, url: str, headers: dict[str, str], clients: int) -> None:
        self.confirmed: list[str] = []
        self.refusals: list[int] = []
        self.slowest = 0.0
        self._url = url
        self._headers = headers
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _run(self, number: int) -> None:
        with _client(self._url, self._headers) as client:
            count = 0
            while not self._stop.is_set():
                count += 1
                body = {"event_type": "user_login", "event_id": f"{number}-{count}"}
                begun = time.perf_counter()
                answer = client.post("/generate_event", json=body)
                took = time.perf_counter() - begun
                with self._lock:
                    self.slowest = max(self.slowest, took)
                    if answer.status_code == 202:
                        self.confirmed.append(answer.json()["event_id"])
                    else:
                        self.refusals.append(answer.status_code)
                if answer.status_code != 202:
                    self._stop.wait(0.05)  # what is refused at once would be asked for ever faster


def test_what_sixteen_clients_were_promised_is_in_the_queue(
    rabbitmq: Any, client: httpx.Client, headers: dict[str, str]
) -> None:
    url = str(client.base_url)

    with Load(url, headers, CLIENTS) as load:
        load.wait(SECONDS)

    ids = [one.event_id for one in stored(rabbitmq)]
    assert load.refusals == []
    assert len(load.confirmed) > 100
    assert sorted(ids) == sorted(load.confirmed), "none lost, none twice"
    assert load.slowest < 1
    assert accepted(url, "api") == len(ids)
    print(f"{len(ids) / SECONDS:.0f} requests/s, slowest {load.slowest * 1000:.0f} ms")  # noqa: T201


def test_a_broker_that_dies_is_said_within_a_second_and_found_again(
    rabbitmq: Any, service_process: Start, headers: dict[str, str]
) -> None:
    # given clients that post without pause
    service = service_process(NAME, rabbitmq=rabbitmq)
    with Load(service.url, headers, 4) as load:
        eventually(lambda: len(load.confirmed) > 20)

        # when the broker is killed
        rabbitmq.kill()
        try:
            eventually(lambda: len(load.refusals) > 20)
            # (what it says may be a second old)
            eventually(
                lambda: httpx.get(f"{service.url}/readyz", verify=False).status_code == 503,
                seconds=2,
            )
            ready = httpx.get(f"{service.url}/readyz", verify=False)
            alive = httpx.get(f"{service.url}/healthz", verify=False)
            before = len(load.confirmed)
            # (and another service starts meanwhile)
            other = service_process(NAME, rabbitmq=rabbitmq, start=False)
            other.revive()
            with _client(other.url, headers) as client:
                early = client.post("/generate_event", json={"event_type": "a"})
        finally:
            # and comes back
            rabbitmq.start()
        eventually(lambda: len(load.confirmed) > before + 20)

    # then every answer came in time, and told the truth
    assert set(load.refusals) == {503}
    assert load.slowest < CONFIRM_SECONDS + 1
    assert (ready.status_code, alive.status_code) == (503, 200)
    assert ready.json()["dependencies"]["rabbitmq"]["state"] == "down"
    assert set(load.confirmed) <= {one.event_id for one in stored(rabbitmq)}
    # and so did the service that was there before its broker
    assert early.status_code == 503
    eventually(other.ready)
    with _client(other.url, headers) as client:
        assert client.post("/generate_event", json={"event_type": "a"}).status_code == 202


def test_a_broker_that_hangs_is_not_waited_for(
    rabbitmq: Any, service_process: Start, headers: dict[str, str]
) -> None:
    service = service_process(NAME, rabbitmq=rabbitmq)
    os.kill(rabbitmq.pid, signal.SIGSTOP)
    try:
        with Load(service.url, headers, CLIENTS) as load:
            eventually(lambda: len(load.refusals) > 2 * CLIENTS)
    finally:
        os.kill(rabbitmq.pid, signal.SIGCONT)

    assert load.confirmed == []
    # Within a second where the machine has one to give: the wait has an end of its own.
    assert load.slowest < CONFIRM_SECONDS + 1


def test_recorded_files_arrive_record_by_record(rabbitmq: Any, client: httpx.Client) -> None:
    trail, audit = sample("cloudtrail.json"), sample("kubernetes-audit.json")

    first = client.post("/ingest/cloudtrail", content=(DATA / "cloudtrail.json").read_bytes())
    second = client.post(
        "/ingest/kubernetes", content=(DATA / "kubernetes-audit.json").read_bytes()
    )

    assert first.json() == {"accepted": len(trail["Records"]), "refused": 0, "errors": []}
    assert second.json() == {"accepted": len(audit["items"]), "refused": 0, "errors": []}
    expected = {one["eventID"]: one for one in trail["Records"]}
    expected |= {f"{one['auditID']}:{one['stage']}": one for one in audit["items"]}
    events = stored(rabbitmq)
    assert len(events) == len(expected)
    for one in events:
        name = ":".join(one.event_id.split(":")[:2])  # without when the API server received it
        assert msgspec.json.decode(one.record) == expected[name]  # type: ignore[arg-type]


def test_a_body_in_chunks_is_read(rabbitmq: Any, client: httpx.Client) -> None:
    line = b'{"event_id":"c%d","event_type":"a","timestamp":"2026-01-01T00:00:00Z"}\n'

    answer = client.post("/ingest/ndjson", content=(line % n for n in range(3)))

    assert answer.json()["accepted"] == 3
    assert [one.event_id for one in stored(rabbitmq)] == ["c0", "c1", "c2"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_a_problem(client: httpx.Client, chunked: bool) -> None:
    piece = b" " * 2**20

    answer = client.post(
        "/ingest/ndjson", content=(piece for _ in range(20)) if chunked else piece * 20
    )

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/healthz").status_code == 200


def test_a_heavy_batch_is_taken_whole(rabbitmq: Any, client: httpx.Client) -> None:
    record = sample("kubernetes-audit.json")["items"][13]
    items = [{**record, "auditID": f"a{n}"} for n in range(1000)]
    body = msgspec.json.encode(
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": items}
    )

    answer = client.post("/ingest/kubernetes", content=body)

    assert answer.json()["accepted"] == 1000
    assert len(stored(rabbitmq)) == 1000


def test_the_stream_tells_its_story_and_ends_in_order(
    rabbitmq: Any, service_process: Start
) -> None:
    stored(rabbitmq)
    service = service_process(
        NAME, rabbitmq=rabbitmq, env={"GENERATOR_RATE": "500", "GENERATOR_SEED": "4"}
    )
    eventually(lambda: accepted(service.url, "synthetic") > 1000)

    begun = time.monotonic()
    service.stop()

    assert time.monotonic() - begun < 5
    assert service.exit_code == 0
    events = stored(rabbitmq)
    assert len(events) > 1000
    assert len({one.event_id for one in events}) == len(events)
    assert {one.event_type for one in events} >= {"user_login", "sudo_command", "file_modified"}
    log = service.log.read_text(encoding="utf-8")
    assert '"scenario begins"' in log
    assert "Traceback" not in log
