"""An HTTP server with the API of the notification service and generated alerts.

``python tests/fake_api.py`` starts it with a dashboard and adds a new alert every 20 seconds, for
work on the pages.
"""

import base64
import datetime as dt
import json
import random
import threading
import uuid
from typing import Any

import flask
from werkzeug.serving import BaseWSGIServer, make_server

TOKEN = "token-of-the-tests"
NAMES = {
    "host": "server_hostname",
    "actor": "actor",
    "ip": "client_ip",
    "resource": "resource",
    "environment": "environment",
}

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
        "entity": {"user_id": user, "server_hostname": host},
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
        "previous_alert_id": None,
        "a_field_of_tomorrow": 1,
    }
    opened = fields.get("last_seen", record["last_seen"])
    return {**record, "opened_at": opened, **fields}


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
            entity={script: script, "n": 5, "nothing": None},
            client_ip="<i>1.2.3.4",
            last_seen=stamp(now - dt.timedelta(seconds=1)),
            rule={
                "id": script,
                "title": script,
                "level": script,
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
            description=None,
            entity={},
            actor=None,
            client_ip=None,
            resource=None,
            server_hostname=None,
            environment=None,
            last_seen=stamp(now - dt.timedelta(seconds=4)),
            opened_at=None,
            previous_alert_id=None,
            rule={"id": "r", "title": None, "level": None, "tags": [], "runbook": None},
        ),
    ]


def stamp(timestamp: dt.datetime) -> str:
    """RFC 3339."""
    return timestamp.isoformat().replace("+00:00", "Z")


class FakeApi:
    """The server. ``mode`` is ok, down (503), garbage, html, slow, denied or broken."""

    def __init__(self) -> None:
        self._app = flask.Flask("fake API")
        self._app.before_request(self._before)
        self._app.add_url_rule("/healthz", view_func=lambda: {"status": "alive"}, endpoint="h")
        self._app.add_url_rule("/alerts", view_func=self._list, endpoint="l")
        self._app.add_url_rule("/alerts/<alert_id>", view_func=self._get, endpoint="o")
        self.port = 0
        self._server: BaseWSGIServer | None = None
        self.reset()

    def reset(self) -> None:
        """Delete all alerts and start the server."""
        self.alerts: list[dict[str, Any]] = []
        self.mode = "ok"
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.released = threading.Event()
        if self._server is None:
            self.start()

    def start(self) -> None:
        """Start the server, on its previous port if it had one."""
        self._server = make_server("127.0.0.1", self.port, self._app, threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    @property
    def last_query(self) -> dict[str, str]:
        """The last list request that was not only for its counts."""
        return [
            query for path, query, _ in self.requests if path == "/alerts" and query["limit"] != "1"
        ][-1]

    def _before(self) -> Any:
        request = flask.request
        if request.path == "/healthz":
            return None
        self.requests.append((request.path, request.args.to_dict(), dict(request.headers)))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}" or self.mode == "denied":
            return {"title": "Unauthorized", "status": 401}, 401
        match self.mode:
            case "down":
                return {"title": "Unavailable", "status": 503, "detail": "postgres is down"}, 503
            case "broken":
                return "Traceback (most recent call last)", 500
            case "garbage":
                return '{"alerts": [{"alert_id": 7}], "counts": {}}', 200
            case "html":
                return "<h1>hello</h1>", 200
            case "slow":
                self.released.wait(4)
        return None

    def _list(self) -> Any:
        args = flask.request.args
        cursor = args.get("cursor", "")
        try:
            start = int(base64.urlsafe_b64decode(cursor)) if cursor else 0
        except ValueError:
            return {
                "title": "Bad cursor",
                "status": 400,
                "detail": "cursor: not one of <ours>",
            }, 400
        found = sorted(
            filter(lambda item: _fits(item, args), self.alerts),
            key=lambda item: item["opened_at"] or item["last_seen"],
            reverse=True,
        )
        limit = int(args["limit"])
        more = start + limit < len(found)
        counts: dict[str, Any] = {"total": len(found), "by_severity": {}}
        for status in ("open", "acknowledged", "resolved"):
            counts[status] = sum(item["status"] == status for item in found)
        for severity in ("CRITICAL", "WARNING", "INFO"):
            counts["by_severity"][severity] = sum(item["severity"] == severity for item in found)
        return {
            "alerts": found[start : start + limit],
            "counts": counts,
            "next_cursor": base64.urlsafe_b64encode(b"%d" % (start + limit)).decode()
            if more
            else None,
        }

    def _get(self, alert_id: str) -> Any:
        for item in self.alerts:
            if item["alert_id"] == alert_id:
                return {**item, "findings": findings(item), "findings_total": item["finding_count"]}
        return {"title": "Not found", "status": 404}, 404


def _fits(item: dict[str, Any], args: Any) -> bool:
    for name in ("status", "severity"):
        if args.get(name) and item[name] not in args[name].split(","):
            return False
    if any(args.get(name) and item[field] != args[name] for name, field in NAMES.items()):
        return False
    if args.get("rule") and item["rule"]["id"] != args["rule"]:
        return False
    if args.get("since") and dt.datetime.fromisoformat(
        item["last_seen"]
    ) < dt.datetime.fromisoformat(args["since"]):
        return False
    return args.get("q", "").lower() in json.dumps([item["title"], item["description"]]).lower()


if __name__ == "__main__":
    import os
    import subprocess
    import sys
    import time

    api = FakeApi()
    start = dt.datetime.now(dt.UTC)
    api.alerts = [*hostile(start), *(alert(number, now=start) for number in range(60))]
    settings = {
        "HOST": "127.0.0.1",
        "API_TOKEN": TOKEN,
        "DASHBOARD_PASSWORD": "admin",
        "NOTIFICATION_SERVICE_HOST": "127.0.0.1",
        "NOTIFICATION_SERVICE_PORT": str(api.port),
        "SESSION_SECRET": "not-secret-not-secret-not-secret-",
    }
    print("http://127.0.0.1:8080, user admin, password admin")  # noqa: T201
    program = "from event_audit_dashboard.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, **settings}
    ) as process:
        try:
            for number in range(2000, 3000):
                time.sleep(20)
                now = dt.datetime.now(dt.UTC)
                api.alerts.append(
                    alert(number, now=now, last_seen=stamp(now), first_seen=stamp(now))
                )
        except KeyboardInterrupt:
            process.wait(10)
        finally:
            api.stop()
