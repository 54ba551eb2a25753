"""Events that tests post, and the alerts that must come of them."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from .environment import Environment, Event

#: What the shipped rule asks for: this many failed logins of one user within a minute.
BURST = 3


def file_change(actor: str) -> Event:
    """A change of the password file: one event, one alert."""
    return {
        "event_id": str(uuid.uuid4()),
        "timestamp": _now(),
        "event_type": "file_modified",
        "action_result": "MODIFIED",
        "user_id": actor,
        "server_hostname": "db-02",
        "resource": "/etc/passwd",
    }


def burst(actor: str) -> list[Event]:
    """As many failed logins as make one alert, which counts them."""
    return [
        {
            "event_id": str(uuid.uuid4()),
            "timestamp": _now(),
            "event_type": "user_login",
            "action_result": "FAILURE",
            "user_id": actor,
            "server_hostname": "web-01",
        }
        for _ in range(BURST)
    ]


@dataclass
class Stream:
    """Events that are posted all the time, each until it is accepted."""

    #: Whose bursts were accepted in full: each must become one alert that counts all of it.
    accepted: list[str] = field(default_factory=list)
    #: How often there was no room or no answer; the event was then posted again.
    refused: int = 0
    #: What ended the stream early.
    error: BaseException | None = None


@contextmanager
def streaming(environment: Environment, prefix: str, *, every: float = 0.1) -> Iterator[Stream]:
    """Post a burst of another user again and again for as long as the block runs."""
    stream, stop = Stream(), threading.Event()
    with environment.generator() as client:
        sender = threading.Thread(
            target=_send,
            args=(client, stream, stop, prefix, every),
            daemon=True,
        )
        sender.start()
        try:
            yield stream
        finally:
            stop.set()
            sender.join(timeout=60)
    if stream.error is not None:
        raise stream.error


def _send(
    client: httpx.Client,
    stream: Stream,
    stop: threading.Event,
    prefix: str,
    every: float,
) -> None:
    number = 0
    try:
        while not stop.is_set():
            actor = f"{prefix}-{number:05d}"
            lines = "\n".join(json.dumps(event) for event in burst(actor))
            # An event that was begun is posted to its end, or nobody could say what must come.
            while not _post(client, lines):
                stream.refused += 1
                time.sleep(every)
            stream.accepted.append(actor)
            number += 1
            stop.wait(every)
    except BaseException as error:  # noqa: BLE001 - it is raised where the stream was started
        stream.error = error


def _post(client: httpx.Client, lines: str) -> bool:
    try:
        answer = client.post("/ingest/ndjson", content=lines)
    except httpx.TransportError:
        return False
    if answer.status_code not in (httpx.codes.ACCEPTED, httpx.codes.SERVICE_UNAVAILABLE):
        raise AssertionError(f"the generator answered {answer.status_code}: {answer.text}")
    return answer.status_code == httpx.codes.ACCEPTED


def counts(alerts: list[dict[str, Any]], prefix: str) -> dict[str, int]:
    """How many events each actor's alert counts; an actor with two alerts fails the test."""
    ours = [alert for alert in alerts if (alert["actor"] or "").startswith(prefix)]
    found = {alert["actor"]: alert["count"] for alert in ours}
    assert len(found) == len(ours), f"{len(ours) - len(found)} alerts came twice"
    return found


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
