"""Named streams of events for measurements, with the number of alerts that each must cause.

All users that alert are dedicated: each has one alert, so that the number of readable alerts shows
when all events have been processed.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from auditflow.contract.event import BATCH_EVENTS

from . import kubernetes_stream

#: Size of an event in bytes, as measured in real streams.
EVENT_BYTES: Final = 419
#: Time between two events of a stream.
_STEP: Final = dt.timedelta(milliseconds=10)
#: Distance in the stream between two failed logins of the same attack: 0.4 s.
_ATTACK_DISTANCE: Final = 40
_ATTACK_LOGINS: Final = 3
_HOSTS: Final = [f"web-{number:02}" for number in range(40)]

Fields = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Encoded events of a stream."""

    #: One event each.
    bodies: list[bytes]
    #: Number of alerts that the events cause.
    alerts: int

    def messages(self, events: int) -> list[bytes]:
        """Return message bodies with this number of events each."""
        if events == 1:
            return self.bodies
        return [
            b"[" + b",".join(self.bodies[start : start + events]) + b"]"
            for start in range(0, len(self.bodies), events)
        ]


@dataclass(frozen=True)
class Stream:
    """A named stream. ``generate`` takes a number of events and a prefix for users and ids."""

    name: str
    description: str
    generate: Callable[[int, str], Batch]
    events_per_message: int = 1


def _native(number: int, prefix: str, *, alerting: float, logins: bool = True) -> Batch:
    """Events of the generator's native format.

    ``alerting`` is the share of draws that alert: half of them are a change of a sensitive file, half
    are three failed logins of a dedicated user within a minute. The other draws are one event each: a
    quarter successful logins, and one eighth each failed logins of different users, sudo commands,
    plain file changes, service starts, service stops and user changes. With 5 %, 41 % of the events
    are logins. ``logins=False`` leaves all logins out.
    """
    rng = random.Random(prefix)
    start = dt.datetime.now(dt.UTC) - number * _STEP
    #: Failed logins of attacks that are still to come, by position.
    pending: dict[int, list[Fields]] = {}
    alerts = draw = 0
    bodies: list[bytes] = []
    while len(bodies) < number:
        position = len(bodies)
        waiting = pending.pop(position, None)
        if waiting:
            fields = waiting.pop()
            if waiting:  # two attacks on one position: move the rest to the next one
                pending.setdefault(position + 1, []).extend(waiting)
        else:
            draw += 1
            user = f"{prefix}-{draw}"
            last = position + (_ATTACK_LOGINS - 1) * _ATTACK_DISTANCE
            if rng.random() >= alerting:
                fields = _benign(rng, user, logins=logins)
            elif rng.random() < 0.5 or not logins:
                fields, alerts = sensitive_file(user), alerts + 1
            elif last + _ATTACK_LOGINS < number:
                fields, alerts = _failed_login(user, rng.choice(_HOSTS)), alerts + 1
                for repeat in range(1, _ATTACK_LOGINS):
                    pending.setdefault(position + repeat * _ATTACK_DISTANCE, []).append(fields)
            else:  # no room for the complete attack before the end
                fields = _benign(rng, user, logins=logins)
        bodies.append(_encode(fields, prefix, position, start + position * _STEP, rng))
    assert not pending, "an attack does not fit into the stream"
    return Batch(bodies, alerts)


def _benign(rng: random.Random, user: str, *, logins: bool) -> Fields:
    kinds: list[Callable[[str], Fields]] = [
        _sudo, _plain_file, _service_start, _service_stop, _user_change,
    ]  # fmt: skip
    if logins:
        kinds += [_successful_login, _successful_login, _failed_login]
    return rng.choice(kinds)(user)


def _successful_login(user: str) -> Fields:
    return {
        "event_type": "user_login",
        "action_result": "SUCCESS",
        "user_id": user,
        "details": {"protocol": "ssh", "method": "publickey"},
    }


def _failed_login(user: str, host: str | None = None) -> Fields:
    return {
        "event_type": "user_login",
        "action_result": "FAILURE",
        "user_id": user,
        **({"server_hostname": host} if host else {}),
        "details": {"protocol": "ssh", "reason": "Incorrect password"},
    }


def sensitive_file(user: str) -> Fields:
    """Return the fields of an event that alerts by itself."""
    return {
        "event_type": "file_modified",
        "action_result": "MODIFIED",
        "user_id": user,
        "resource": "/etc/passwd",
        "details": {"old_checksum": "9f86d081", "new_checksum": "60303ae2"},
    }


def _plain_file(user: str) -> Fields:
    return {
        "event_type": "file_modified",
        "action_result": "MODIFIED",
        "user_id": user,
        "resource": "/srv/www/index.html",
        "details": {"old_checksum": "9f86d081", "new_checksum": "60303ae2"},
    }


def _sudo(user: str) -> Fields:
    return {
        "event_type": "sudo_command",
        "action_result": "SUCCESS",
        "user_id": user,
        "details": {"command": "/usr/bin/journalctl -u app --since today", "cwd": "/srv"},
    }


def _service_start(user: str) -> Fields:
    return {
        "event_type": "service_started",
        "action_result": "SUCCESS",
        "user_id": user,
        "resource": "nginx.service",
        "details": {"unit": "nginx.service"},
    }


def _service_stop(user: str) -> Fields:
    return {
        "event_type": "service_stopped",
        "action_result": "SUCCESS",
        "user_id": user,
        "resource": "nginx.service",
        "details": {"unit": "nginx.service"},
    }


def _user_change(user: str) -> Fields:
    return {
        "event_type": "user_modified",
        "action_result": "SUCCESS",
        "user_id": user,
        "resource": user,
        "details": {"field": "shell", "new_value": "/bin/bash"},
    }


def _encode(
    fields: Fields, prefix: str, position: int, timestamp: dt.datetime, rng: random.Random
) -> bytes:
    """Encode an event with exactly ``EVENT_BYTES`` bytes. Each user has an address of its own."""
    number = int(fields["user_id"].rpartition("-")[2])
    event = {
        "event_id": f"{prefix}-{position:012x}",
        "timestamp": timestamp.isoformat(),
        "source_service": "bench",
        "server_hostname": rng.choice(_HOSTS),
        "severity": "INFO",
        "client_ip": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        **fields,
        "details": {**fields["details"], "note": ""},
    }
    missing = EVENT_BYTES - len(msgspec.json.encode(event))
    assert missing >= 0, f"an event has {EVENT_BYTES - missing} bytes without padding"
    event["details"]["note"] = f"{rng.getrandbits(4 * missing + 4):0{missing + 1}x}"[:missing]
    return msgspec.json.encode(event)


def _attacks_share(alerting: float) -> Callable[[int, str], Batch]:
    return lambda number, prefix: _native(number, prefix, alerting=alerting)


LOGINS: Final = Stream("logins", "41 % logins, 5 % alerting", _attacks_share(0.05))
LOGINS_BATCHES: Final = Stream(
    "logins in batches",
    f"the same, {BATCH_EVENTS} events per message",
    LOGINS.generate,
    events_per_message=BATCH_EVENTS,
)
ALERTING: Final = Stream("logins, 40 % alerting", "40 % alerting", _attacks_share(0.40))
NO_LOGINS: Final = Stream(
    "no logins",
    "the same without logins",
    lambda number, prefix: _native(number, prefix, alerting=0.05, logins=False),
)
QUIET: Final = Stream("quiet", "41 % logins, 0.2 % alerting", _attacks_share(0.002))


def _kubernetes(number: int, prefix: str) -> Batch:
    events = list(kubernetes_stream.events(number, prefix))
    return Batch([body for body, _ in events], sum(alerting for _, alerting in events))


KUBERNETES: Final = Stream(
    "kubernetes", "API server audit records, with the platform's policy", _kubernetes
)
#: The streams by name, for ``--stream``.
STREAMS: Final = {
    stream.name: stream
    for stream in (LOGINS, LOGINS_BATCHES, ALERTING, NO_LOGINS, QUIET, KUBERNETES)
}


def names() -> Iterator[str]:
    """Yield the names of all streams."""
    yield from STREAMS
