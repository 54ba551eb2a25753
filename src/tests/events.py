"""Events that tests send, and the alerts that they must cause."""

import datetime as dt
import random
import zlib
from typing import Any

#: The middle of a bucket of the shipped rules, an hour ago or a little more.
START = dt.datetime.fromtimestamp(
    (dt.datetime.now(dt.UTC).timestamp() - 3600) // 300 * 300 + 100, dt.UTC
)


def address_of(user: str) -> str:
    """Each user comes from an own address: many from one would be an attack of another kind."""
    number = zlib.crc32(user.encode())
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def failed_login(name: str, user: str, *, at: float = 0, host: str = "web-01") -> dict[str, Any]:
    """A login that failed, ``at`` seconds after the start."""
    return {
        "event_id": name,
        "timestamp": (START + dt.timedelta(seconds=at)).isoformat(),
        "event_type": "user_login",
        "action_result": "FAILURE",
        "user_id": user,
        "server_hostname": host,
        "details": {"ip_address": address_of(user), "protocol": "ssh"},
    }


def file_change(name: str, path: str, *, at: float = 0) -> dict[str, Any]:
    """A file that was changed."""
    return {
        "event_id": name,
        "timestamp": (START + dt.timedelta(seconds=at)).isoformat(),
        "event_type": "file_modified",
        "action_result": "MODIFIED",
        "user_id": "mallory",
        "server_hostname": "db-02",
        "resource": path,
    }


def attack_events(users: int) -> list[dict[str, Any]]:
    """A burst of five failures of each user, noise between them, and a sensitive file.

    The alerts are those of ``alerts_of(users)``.
    """
    events = [
        failed_login(f"burst-{user}-{number}", f"user-{user}", at=number * 10)
        for user in range(users)
        for number in range(5)
    ]
    events += [
        failed_login(f"noise-{user}-{number}", f"quiet-{user}", at=number * 90)
        for user in range(users)
        for number in range(3)
    ]
    events.append(file_change("passwd", "/etc//passwd"))
    events.append(file_change("notes", "/etc/passwd-notes.txt"))
    return events


AlertKey = tuple[str, str, int, dt.datetime, dt.datetime]


def alerts_of(users: int) -> set[AlertKey]:
    """Rule, actor, count, first and last event of each alert of ``attack_events``."""
    burst = (START, START + dt.timedelta(seconds=40))
    return {("Burst of failed logins", f"user-{user}", 5, *burst) for user in range(users)} | {
        ("Sensitive file changed", "mallory", 1, START, START)
    }


def alert_keys(alerts: list[dict[str, Any]]) -> set[AlertKey]:
    """Alerts as ``alerts_of`` has them. Two alerts that are the same there fail the test."""
    found = [
        (
            alert["title"],
            alert["actor"],
            alert["count"],
            dt.datetime.fromisoformat(alert["first_seen"]),
            dt.datetime.fromisoformat(alert["last_seen"]),
        )
        for alert in alerts
    ]
    assert len(found) == len(set(found)), f"an alert came twice: {sorted(found)}"
    return set(found)


def shuffled(events: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The same events in another order."""
    copy = list(events)
    random.Random(seed).shuffle(copy)
    return copy
