"""Clients of the service, and the queue that it publishes to."""

import threading
import time
from typing import Any

import httpx
import pika

from auditflow.amqp import topology
from auditflow.contract import event


def open_client(url: str, headers: dict[str, str]) -> httpx.Client:
    """A client of the service."""
    # Plain HTTP. Loading certificates would take 20 ms per client.
    return httpx.Client(base_url=url, headers=headers, timeout=60, verify=False)


def stored(rabbitmq: Any) -> list[event.Event]:
    """Take every event out of the queue."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url("auditflow-admin")))
    channel = connection.channel()
    events = []
    while True:
        method, _, body = channel.basic_get(topology.EVENTS, auto_ack=True)
        if method is None:
            break
        for received in event.decode_message(body):
            assert isinstance(received, event.Received), received
            events.append(received.event)
    connection.close()
    return events


def accepted(url: str, source: str) -> int:
    """The number of accepted events of a source, as the service counts them."""
    text = httpx.get(f"{url}/metrics", verify=False).text
    [line] = [line for line in text.splitlines()
              if line.startswith(f'auditflow_events_accepted_total{{source="{source}"}}')]  # fmt: skip
    return int(float(line.split()[-1]))


class Load:
    """Clients that post events until they are stopped, and record the responses."""

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

    def _run(self, number: int) -> None:
        with open_client(self._url, self._headers) as client:
            count = 0
            while not self._stop.is_set():
                count += 1
                body = {"event_type": "user_login", "event_id": f"{number}-{count}"}
                started = time.perf_counter()
                answer = client.post("/generate_event", json=body)
                elapsed = time.perf_counter() - started
                with self._lock:
                    self.slowest = max(self.slowest, elapsed)
                    if answer.status_code == 202:
                        self.confirmed.append(answer.json()["event_id"])
                    else:
                        self.refusals.append(answer.status_code)
                if answer.status_code != 202:
                    # A refusal is immediate and would be repeated without pause.
                    self._stop.wait(0.05)
