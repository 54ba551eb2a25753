"""Realistic events for measurements: mostly normal work; 5 % of the events alert."""

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_NOW: Final = dt.datetime.now(dt.UTC)
_HOSTS: Final = [f"web-{number:02}" for number in range(40)]
_USERS: Final = [f"user-{number:03}" for number in range(400)]
_PATHS: Final = ["/var/log/app.log", "/srv/www/index.html", "/opt/app/config.json", "/tmp/session"]
#: The part of what is well that is a login: each goes through a window, for it may be the end of
#: passwords tried out.
_LOGINS: Final = 0.05
_COMMANDS: Final = [
    "/usr/bin/apt-get update",
    "/bin/systemctl restart nginx",
    "/usr/bin/journalctl -u app --since today",
    "/usr/bin/tail -n 100 /var/log/nginx/access.log",
]


def events(number: int, *, seed: int = 1, alerting: float = 0.05) -> Iterator[dict[str, Any]]:
    """Native events of about 420 bytes; of each hundred, some are part of an attack."""
    rng = random.Random(seed)
    for index in range(number):
        timestamp = _NOW - dt.timedelta(seconds=(number - index) * 0.01)
        item = _attack(rng, index) if rng.random() < alerting else _benign(rng)
        yield {
            "event_id": f"{seed:08x}-{index:012x}",
            "timestamp": timestamp.isoformat(),
            "source_service": "bench",
            "server_hostname": rng.choice(_HOSTS),
            "severity": "INFO",
            "client_ip": f"10.{rng.randrange(4)}.{rng.randrange(256)}.{rng.randrange(256)}",
            **item,
        }


def bodies(number: int, **options: Any) -> list[bytes]:
    """The same, encoded."""
    return [msgspec.json.encode(event) for event in events(number, **options)]


def _attack(rng: random.Random, index: int) -> dict[str, Any]:
    if index % 2:
        return {
            "event_type": "user_login",
            "action_result": "FAILURE",
            "user_id": f"victim-{rng.randrange(20)}",
            "details": {"protocol": "ssh", "reason": "Incorrect password", "port": 22},
        }
    return {
        "event_type": "file_modified",
        "action_result": "MODIFIED",
        "user_id": "mallory",
        "resource": "/etc/passwd",
        "details": {"old_checksum": "9f86d081", "new_checksum": "60303ae2", "size": 1734},
    }


def _benign(rng: random.Random) -> dict[str, Any]:
    user = rng.choice(_USERS)
    if rng.random() < _LOGINS:
        return {
            "event_type": "user_login",
            "action_result": "SUCCESS",
            "user_id": user,
            "details": {"protocol": "ssh", "tty": "/dev/pts/0", "note": "publickey"},
        }
    padding = f"request {rng.getrandbits(64):016x} of session {rng.getrandbits(64):016x}"
    return rng.choice(
        [
            {
                "event_type": "sudo_command",
                "action_result": "SUCCESS",
                "user_id": user,
                "details": {"command": rng.choice(_COMMANDS), "cwd": f"/home/{user}", "n": padding},
            },
            {
                "event_type": "file_modified",
                "action_result": "MODIFIED",
                "user_id": user,
                "resource": rng.choice(_PATHS),
                "details": {"old_checksum": padding[:16], "new_checksum": padding[-16:]},
            },
        ]
    )
