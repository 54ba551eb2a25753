"""Generated alerts, with their events and findings, and alerts with hostile text."""

import datetime as dt
import random
import uuid
from typing import Any

RULES = [
    (
        "Burst of failed sign-ins",
        "high",
        "WARNING",
        ["attack.credential_access", "attack.t1110.001"],
    ),
    ("Sensitive file changed", "critical", "CRITICAL", ["attack.persistence", "attack.t1098"]),
    (
        "Sign-in after a burst of failures",
        "critical",
        "CRITICAL",
        ["attack.initial-access", "attack.t1078"],
    ),
    (
        "Privileges raised with sudo",
        "medium",
        "WARNING",
        ["attack.privilege_escalation", "attack.t1548.003"],
    ),
    (
        "Security service stopped",
        "high",
        "CRITICAL",
        ["attack.defense-evasion", "attack.t1562.001"],
    ),
    ("Secret read in the cluster", "medium", "WARNING", ["attack.t1552.007", "cve.2026.1234"]),
    ("First sign-in from a new country", "low", "INFO", ["attack.t1078.004"]),
]

USERS = [
    "alice",
    "bob",
    "root",
    "svc-backup",
    "mallory",
    "deploy-bot",
    "j.okonkwo@example.org",
    "system:serviceaccount:monitoring:prometheus-operator",
    None,
]

HOSTS = ["web-01", "web-02", "db-01.internal.example.org", "k3s-node-3", "bastion", None]

RESOURCES = ["/etc/passwd", "/etc/shadow", "auditd.service", "secrets/prod/db-password", None]


def alert(number: int, *, now: dt.datetime, **fields: Any) -> dict[str, Any]:
    """The alert with this number; the same number gives the same alert."""
    rng = random.Random(number)
    title, level, severity, tags = RULES[number % len(RULES)]
    user, host = rng.choice(USERS), rng.choice(HOSTS)
    last = now - dt.timedelta(seconds=number * number * 11 + 3)
    ip = rng.choice([f"203.0.113.{rng.randrange(1, 255)}", "2001:db8:85a3::8a2e:370:7334", None])
    count = rng.choice([3, 5, 12, 48, 310, 12_400])
    alert_id = str(uuid.UUID(int=number + (7 << 100)))
    record = {
        "alert_id": alert_id,
        "status": rng.choice(["open", "open", "open", "acknowledged", "resolved"]),
        "level": level,
        "severity": severity,
        "rule": {
            "id": str(uuid.UUID(int=number % len(RULES) + 99)),
            "title": title,
            "level": level,
            "tags": tags,
            "runbook": "https://runbooks.example.org/" + title.replace(" ", "-"),
        },
        "title": title,
        "description": f"{count:,} events by {user or 'an unknown user'} "
        f"on {host or 'an unknown host'}"
        f"{' from ' + ip if ip else ''} within 60 seconds.",
        "entity": {
            name: value
            for name, value in (("user_id", user), ("server_hostname", host))
            if value is not None
        },
        "actor": user,
        "client_ip": ip,
        "resource": rng.choice(RESOURCES),
        "server_hostname": host,
        "environment": "local",
        "count": count,
        "finding_count": 1 + number % 9,
        "first_seen": stamp(last - dt.timedelta(seconds=rng.randrange(2, 9000))),
        "last_seen": stamp(last),
        "opened_at": stamp(last),
        "updated_at": stamp(last),
        "approximate": number % 11 == 5,
        "clamped": number % 11 == 6,
        "previous_alert_id": None,
        "count_is_estimate": count > 10_000,
        "triage_version": 1,
        "change_seq": number,
        "assignee": rng.choice([None, None, None, "admin", "dana"]),
        "active_again": number % 7 == 2,
        "verdict": None,
        "risk": 3 * number,
        "a_field_of_tomorrow": 1,
    }
    if record["status"] == "resolved":
        record |= {"verdict": "benign", "active_again": False}
    opened = fields.get("last_seen", record["last_seen"])
    return {**record, "opened_at": opened, **fields}


def events(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the event table of an alert, latest first."""
    first, last = (dt.datetime.fromisoformat(item[name]) for name in ("first_seen", "last_seen"))
    number = min(item["count"], 25)
    return [
        {
            "event_id": f"{item['alert_id'][-6:]}/{n}",
            "timestamp": stamp(last - (last - first) * n / max(1, number - 1)),
            "event_type": "user_login",
            "user": item["actor"],
            "host": item["server_hostname"],
            "address": item["client_ip"],
            "resource": item["resource"],
            "result": "FAILURE",
            "has_record": True,
        }
        for n in range(number)
    ]


def findings(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings of an alert, newest first."""
    first, last = (dt.datetime.fromisoformat(item[name]) for name in ("first_seen", "last_seen"))
    parts = min(item["finding_count"], 50)
    found = []
    for part in range(parts):
        start = first + (last - first) * part / parts
        end = start + (last - first) / parts * 0.6 if parts > 1 else last
        if part == parts - 1:
            end = last
        count = max(1, item["count"] * (part + 1) // (parts * 2))
        named = min(count, 14)
        events = [
            {
                "event_id": f"{item['alert_id'][-6:]}-{part}-{n}",
                "timestamp": stamp(start + (end - start) * n / max(1, named - 1)),
            }
            for n in range(named)
        ]
        event = {
            "event_id": events[0]["event_id"],
            "timestamp": events[0]["timestamp"],
            "event_type": "user_login",
            "action_result": "FAILURE",
            "user_id": item["actor"],
            "server_hostname": item["server_hostname"],
            "client_ip": item["client_ip"],
            "details": {"method": "password", "note": item["title"]},
        }
        found.append(
            {
                "finding_id": str(uuid.uuid5(uuid.UUID(int=1), f"{item['alert_id']}{part}")),
                "bucket_start": stamp(start),
                "first_seen": stamp(start),
                "last_seen": stamp(end),
                "count": count,
                "severity": item["severity"],
                "description": f"{count:,} events within 60 seconds.",
                "rule_revision": "a3f9c1e",
                "correlation_id": f"req-{part:04d}",
                "approximate": item["approximate"],
                "evidence": {
                    "events": events,
                    "first_event": event,
                    "last_event": {**event, "event_id": events[-1]["event_id"]},
                },
            }
        )
    return found[::-1]


def hostile(now: dt.datetime) -> list[dict[str, Any]]:
    """Alerts with text that an attacker controls."""
    script = "<script>alert('owned')</script>"
    return [
        alert(
            1001,
            now=now,
            title=script,
            description=f'"><img src=x onerror=alert(1)>{script}',
            actor="{{ 7 * 7 }}'\"<b>",
            server_hostname="javascript:alert(1)",
            resource=script,
            entity={script: script},
            client_ip="<i>1.2.3.4",
            last_seen=stamp(now - dt.timedelta(seconds=1)),
            rule={
                "id": script,
                "title": script,
                "level": script[:40],
                "tags": [script, "attack.t1110"],
                "runbook": "javascript:alert(document.cookie)",
            },
        ),
        alert(
            1002,
            now=now,
            title="invoice \u202efdp.exe\u202c opened",
            actor="ad\u200bmin\u0000\r\n",
            description="A" * 10_000,
            resource="/" + "r" * 10_000,
            server_hostname="h" * 255,
            last_seen=stamp(now - dt.timedelta(seconds=2)),
            approximate=True,
        ),
        alert(
            1003,
            now=now,
            title="👩\u200d💻 signed in ☕ naïve Ωmega 漢字",
            description="",
            entity={},
            actor=None,
            client_ip=None,
            resource=None,
            server_hostname=None,
            last_seen=stamp(now - dt.timedelta(seconds=4)),
            previous_alert_id=None,
            rule={"id": "r", "title": "", "level": "", "tags": [], "runbook": None},
        ),
    ]


def dead_letter(number: int) -> dict[str, Any]:
    """A message with hostile text that could not be processed."""
    return {
        "key": f"{number:032x}",
        "kind": "contract",
        "reason": "not JSON",
        "at": "2026-01-31T08:00:42.113+00:00",
        "message_id": f"<b>{number}</b>",
        "size": 30,
        "beginning": "<script>alert(1)</script>",
    }


def stamp(timestamp: dt.datetime) -> str:
    """RFC 3339."""
    return timestamp.isoformat().replace("+00:00", "Z")
