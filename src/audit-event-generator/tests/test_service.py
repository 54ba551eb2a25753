"""The service with a real broker: its guarantees hold under load and faults."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pika
import pytest

from audit_event_generator.grouped_publisher import CONFIRM_SECONDS
from auditflow_local.errors import StartError
from auditflow_local.polling import eventually

from .conftest import DATA, sample
from .load import Load, accepted, open_client, stored

NAME = "audit-event-generator"
CLIENTS = 16
#: A busy machine adds to the limit of a confirmation. Without the limit, a request never ends.
BUSY_SECONDS = 30
Start = Callable[..., Any]


@pytest.fixture
def headers(service_secrets: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {service_secrets['INGEST_TOKEN']}"}


@pytest.fixture
def client(
    rabbitmq: Any, service_process: Start, headers: dict[str, str]
) -> Iterator[httpx.Client]:
    """A client of a ready service. The queue is empty."""
    stored(rabbitmq)
    service = service_process(NAME, rabbitmq=rabbitmq)
    with open_client(service.url, headers) as http_client:
        yield http_client


def test_every_accepted_event_of_sixteen_clients_is_in_the_queue(
    rabbitmq: Any, client: httpx.Client, headers: dict[str, str]
) -> None:
    url = str(client.base_url)

    with Load(url, headers, CLIENTS) as load:
        eventually(lambda: len(load.confirmed) > 200, what="200 confirmed events")

    ids = [stored_event.event_id for stored_event in stored(rabbitmq)]
    # A machine that is busy with other work may delay a confirmation. Then the client got an error.
    assert set(load.refusals) <= {503}
    assert len(ids) == len(set(ids)), "no event is duplicated"
    assert set(load.confirmed) <= set(ids), "no event is lost"
    assert len(ids) <= len(load.confirmed) + len(load.refusals)
    assert len(load.confirmed) <= accepted(url, "api") <= len(ids)


def test_broker_failure_is_reported_and_the_service_reconnects(
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
            # (the state may be a second old)
            eventually(lambda: httpx.get(f"{service.url}/readyz", verify=False).status_code == 503)
            ready = httpx.get(f"{service.url}/readyz", verify=False)
            alive = httpx.get(f"{service.url}/healthz", verify=False)
            before = len(load.confirmed)
            # and another service starts
            other = service_process(NAME, rabbitmq=rabbitmq, start=False)
            other.respawn()
            with open_client(other.url, headers) as client:
                early = client.post("/generate_event", json={"event_type": "a"})
        finally:
            # and comes back
            rabbitmq.start()
        eventually(lambda: len(load.confirmed) > before + 20)

    # then every response was in time and correct
    assert set(load.refusals) == {503}
    assert load.slowest < CONFIRM_SECONDS + BUSY_SECONDS
    assert (ready.status_code, alive.status_code) == (503, 200)
    assert ready.json()["dependencies"]["rabbitmq"]["state"] == "down"
    assert set(load.confirmed) <= {stored_event.event_id for stored_event in stored(rabbitmq)}
    # and the service that started without a broker works
    assert early.status_code == 503
    eventually(other.ready)
    with open_client(other.url, headers) as client:
        assert client.post("/generate_event", json={"event_type": "a"}).status_code == 202


def test_wait_for_a_frozen_broker_is_limited(
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
    assert load.slowest < CONFIRM_SECONDS + BUSY_SECONDS


def test_recorded_files_arrive_in_the_queue(rabbitmq: Any, client: httpx.Client) -> None:
    trail, audit = sample("cloudtrail.json"), sample("kubernetes-audit.json")

    first = client.post("/ingest/cloudtrail", content=(DATA / "cloudtrail.json").read_bytes())
    second = client.post(
        "/ingest/kubernetes", content=(DATA / "kubernetes-audit.json").read_bytes()
    )

    assert first.json() == {"accepted": len(trail["Records"]), "refused": 0, "errors": []}
    assert second.json() == {"accepted": len(audit["items"]), "refused": 0, "errors": []}
    expected = {record["eventID"]: record for record in trail["Records"]}
    expected |= {f"{item['auditID']}:{item['stage']}": item for item in audit["items"]}
    events = stored(rabbitmq)
    assert len(events) == len(expected)
    for stored_event in events:
        # without requestReceivedTimestamp
        name = ":".join(stored_event.event_id.split(":")[:2])
        assert msgspec.json.decode(stored_event.record) == expected[name]  # type: ignore[arg-type]


def test_chunked_body_is_accepted(rabbitmq: Any, client: httpx.Client) -> None:
    line = b'{"event_id":"c%d","event_type":"a","timestamp":"2026-01-01T00:00:00Z"}\n'

    answer = client.post("/ingest/ndjson", content=(line % n for n in range(3)))

    assert answer.json()["accepted"] == 3
    assert [stored_event.event_id for stored_event in stored(rabbitmq)] == ["c0", "c1", "c2"]


@pytest.mark.parametrize("chunked", [False, True])
def test_large_body_is_refused(client: httpx.Client, chunked: bool) -> None:
    piece = b" " * 2**20

    answer = client.post(
        "/ingest/ndjson", content=(piece for _ in range(20)) if chunked else piece * 20
    )

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/healthz").status_code == 200


def test_large_batch_is_accepted(rabbitmq: Any, client: httpx.Client) -> None:
    record = sample("kubernetes-audit.json")["items"][13]
    items = [{**record, "auditID": f"a{n}"} for n in range(1000)]
    body = msgspec.json.encode(
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": items}
    )

    answer = client.post("/ingest/kubernetes", content=body)

    assert answer.json()["accepted"] == 1000
    assert len(stored(rabbitmq)) == 1000


def test_synthetic_stream_publishes_and_stops_in_order(
    rabbitmq: Any, service_process: Start
) -> None:
    stored(rabbitmq)
    service = service_process(
        NAME, rabbitmq=rabbitmq, env={"GENERATOR_RATE": "500", "GENERATOR_SEED": "4"}
    )
    eventually(lambda: accepted(service.url, "synthetic") > 1000)

    service.stop()

    assert service.exit_code == 0
    events = stored(rabbitmq)
    assert len(events) > 1000
    assert len({item.event_id for item in events}) == len(events)
    assert {item.event_type for item in events} >= {"user_login", "sudo_command", "file_modified"}
    log = service.log.read_text(encoding="utf-8")
    assert '"scenario starts"' in log
    assert "Traceback" not in log


def test_refused_record_is_in_the_dead_letter_queue(rabbitmq: Any, client: httpx.Client) -> None:
    rabbitmq.empty("audit_events.dlq")

    answer = client.post("/ingest/ndjson", content=b"not an event")

    assert answer.status_code == 422
    [reported] = stored(rabbitmq)
    assert reported.event_type == "record_refused"
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url("auditflow-admin")))
    method, properties, body = connection.channel().basic_get("audit_events.dlq", auto_ack=True)
    connection.close()
    assert method is not None
    assert body == b"not an event"
    assert properties.headers["x-auditflow-source"] == "ndjson"
    assert "line 1: malformed JSON" in properties.headers["x-auditflow-reason"]


def test_event_id_that_amqp_cannot_carry_keeps_the_connection(
    rabbitmq: Any, client: httpx.Client
) -> None:
    ids = ["x" * 256, "\u20ac" * 100, "\u20ac" * 256]

    for event_id in ids:
        answer = client.post("/generate_event", json={"event_type": "a", "event_id": event_id})
        assert answer.status_code == 202
    assert client.post("/generate_event", json={"event_type": "a"}).status_code == 202

    assert [event.event_id for event in stored(rabbitmq)][:3] == ids


def test_tokens_of_a_file_are_read_and_reloaded(
    rabbitmq: Any, service_process: Start, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.yaml"
    document = "sources: {shop: {routes: [api], logsource: any, tokens: [%s]}}"
    file.write_text(document % "first-token-00001")
    service = service_process(NAME, rabbitmq=rabbitmq, env={"INGEST_TOKENS_FILE": str(file)})

    def status(token: str) -> int:
        with open_client(service.url, {"Authorization": f"Bearer {token}"}) as client:
            return client.post("/generate_event", json={"event_type": "a"}).status_code

    assert status("first-token-00001") == 202
    file.write_text(document % "other-token-00001")
    eventually(lambda: status("other-token-00001") == 202)
    assert status("first-token-00001") == 401


def test_invalid_tokens_end_the_process_with_the_reason(
    rabbitmq: Any, service_process: Start, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text("sources: {shop: {routes: [shopping], tokens: [secret-token-0001]}}")

    with pytest.raises(StartError, match="code 2") as error:
        service_process(NAME, rabbitmq=rabbitmq, env={"INGEST_TOKENS_FILE": str(file)})

    assert "shop: unknown routes: shopping" in str(error.value)
    assert "secret-token-0001" not in str(error.value)


def test_large_body_does_not_block_other_requests(client: httpx.Client) -> None:
    line = b'{"event_type":"a","timestamp":"2026-01-01T00:00:00Z","details":{"x":"%s"}}\n' % (
        b"y" * 600
    )
    answers: list[int] = []
    slow = threading.Thread(
        target=lambda: answers.append(
            client.post("/ingest/ndjson", content=line * 19_000).status_code
        )
    )
    slow.start()
    probes = 0
    while slow.is_alive():
        assert client.get("/healthz").status_code == 200
        probes += 1
    slow.join()

    assert answers[0] in (202, 503), "503 if the machine is too slow for the confirm"
    assert probes > 0


@pytest.mark.parametrize("has_token", [True, False])
def test_unfinished_bodies_do_not_exhaust_the_memory(
    rabbitmq: Any, service_process: Start, headers: dict[str, str], has_token: bool
) -> None:
    # given 16 clients that send 15 of 16 MiB each
    service = service_process(NAME, rabbitmq=rabbitmq)
    host, port = service.url.removeprefix("http://").split(":")
    token = headers["Authorization"] if has_token else "Bearer wrong"
    head = (
        f"POST /ingest/ndjson HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n"
        f"Content-Length: {16 * 2**20}\r\n\r\n"
    ).encode()
    statuses: list[bytes] = []

    def send() -> None:
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            try:
                connection.sendall(head)
                for _ in range(15):
                    connection.sendall(b"x" * 2**20)
                connection.settimeout(8)
                statuses.append(connection.recv(12))
            except TimeoutError:
                statuses.append(b"waits")
            except ConnectionError:
                statuses.append(b"closed")

    clients = [threading.Thread(target=send) for _ in range(16)]

    # when all of them wait
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    # then the process stays far below the limit of its pod (256 MiB)
    status = Path(f"/proc/{service.pid}/status").read_text()
    [peak] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert peak < 192 * 1024, f"{peak} KiB"
    assert len(statuses) == 16
    if not has_token:
        assert not [status for status in statuses if status == b"HTTP/1.1 202"]
    # and it still accepts events
    with open_client(service.url, headers) as http_client:
        eventually(
            lambda: http_client.post("/generate_event", json={"event_type": "a"}).status_code == 202
        )
