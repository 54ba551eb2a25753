"""Events that tests post, and the alerts that they must cause."""

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

#: Threshold of the shipped rule: failed logins of one user within a minute.
BURST = 3
#: The user of an event in staging. Step 5 posts it, and step 7 restores it in the archive.
ARCHIVED = "mallory-of-the-archive"


def file_change(actor: str) -> Event:
    """Return a change of the password file. It causes one alert."""
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
    """Return failed logins of one user that cause one alert with count ``BURST``."""
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
    """A continuous stream of bursts. Each is posted until it is accepted."""

    #: Users whose burst was accepted. Each must cause one alert with count ``BURST``.
    accepted: list[str] = field(default_factory=list)
    #: Number of refused or failed requests. They were repeated.
    refused: int = 0
    #: The error that ended the stream early.
    error: BaseException | None = None


@contextmanager
def streaming(environment: Environment, prefix: str, *, every: float = 0.1) -> Iterator[Stream]:
    """Post bursts of different users until the end of the block."""
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
            # Repeat until accepted. Otherwise the expected alerts would be unknown.
            while not _post(client, lines):
                stream.refused += 1
                time.sleep(every)
            stream.accepted.append(actor)
            number += 1
            stop.wait(every)
    except BaseException as error:  # noqa: BLE001 - raised by streaming()
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
    """Return the count of each actor's alert. Fails if an actor has two alerts."""
    matching = [alert for alert in alerts if (alert["actor"] or "").startswith(prefix)]
    found = {alert["actor"]: alert["count"] for alert in matching}
    assert len(found) == len(matching), f"{len(matching) - len(found)} duplicate alerts"
    return found


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
