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
from collections import Counter
from typing import Any
from urllib.parse import unquote

import flask
from werkzeug.serving import BaseWSGIServer, make_server

from auditflow.contract import text_filter

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


class FakeApi:
    """The server. ``mode`` is ok, down (503), limited (429), garbage, html, slow, denied or broken."""

    def __init__(self) -> None:
        self._app = flask.Flask("fake API")
        self._app.before_request(self._before)
        self._app.add_url_rule("/healthz", view_func=lambda: {"status": "alive"}, endpoint="h")
        for method, rule, view in (
            ("GET", "/api/v1/alerts", self._list),
            ("GET", "/api/v1/alerts/facets", self._facets),
            ("GET", "/api/v1/me", self._me),
            ("PUT", "/api/v1/users", self._put_user),
            ("GET", "/api/v1/second-factor", self._second_factor),
            ("PUT", "/api/v1/second-factor", self._enable_second_factor),
            ("POST", "/api/v1/second-factor/steps", self._use_step),
            ("POST", "/api/v1/second-factor/recovery-codes", self._use_recovery_code),
            ("DELETE", "/api/v1/second-factor", self._delete_second_factor),
            ("GET", "/api/v1/alerts/<alert_id>", self._get),
            ("GET", "/api/v1/alerts/<alert_id>/events", self._events),
            ("GET", "/api/v1/alerts/<alert_id>/event", self._event),
            ("GET", "/api/v1/alerts/<alert_id>/history", self._history),
            ("GET", "/api/v1/alerts/<alert_id>/route", self._route),
            ("GET", "/api/v1/notifications", self._notifications),
            ("POST", "/api/v1/audit", self._audit),
            ("GET", "/rules/catalogue", lambda: {"rules": [], "exclusions": [], "matrix": []}),
            ("GET", "/api/v1/queues", self._queues),
            ("GET", "/api/v1/ledger", self._ledger),
            ("GET", "/api/v1/views", lambda: {"views": self.views}),
            ("POST", "/api/v1/views", self._save_view),
            ("DELETE", "/api/v1/views/<view_id>", self._delete_view),
            ("GET", "/api/v1/dead-letters/<queue>", self._dead_letters),
            ("GET", "/api/v1/dead-letters/<queue>/<key>", self._dead_letter),
            ("POST", "/api/v1/dead-letters/<queue>/<action>", self._change_dead_letters),
            ("GET", "/api/v1/rules/statistics", self._rule_statistics),
            ("POST", "/api/v1/alerts/bulk", self._bulk),
            ("POST", "/api/v1/alerts/bulk/<bulk_id>/undo", self._undo_bulk),
            ("POST", "/api/v1/alerts/<alert_id>/<action>", self._act),
        ):
            self._app.add_url_rule(rule, f"{method} {rule}", view, methods=[method])
        self.port = 0
        self._server: BaseWSGIServer | None = None
        self.reset()

    def reset(self) -> None:
        """Delete all alerts and start the server."""
        self.alerts: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.actions: list[tuple[str, dict[str, Any]]] = []
        self.bulk: dict[str, list[dict[str, Any]]] = {}
        self.mode = "ok"
        self.record_characters = 10
        self.role = "admin"
        self.reports: list[dict[str, Any]] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.letters: list[dict[str, Any]] | None = [dead_letter(0), dead_letter(1)]
        self.ledger: dict[str, Any] | None = None
        self.disabled: set[str] = set()
        #: Alerts of the sample that facets are estimated from.
        self.sampled: int | None = None
        self.roles_set: list[tuple[str, dict[str, Any]]] = []
        self.views: list[dict[str, Any]] = []
        self.factor: dict[str, Any] | None = None
        self.dead_letter_requests: list[tuple[str, dict[str, Any]]] = []
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
        return [query for path, query, _ in self.requests if path == "/api/v1/alerts"][-1]

    def _before(self) -> Any:
        request = flask.request
        if request.path == "/healthz" or (self.mode == "ok" and request.path == "/rules/catalogue"):
            return None
        self.requests.append((request.path, request.args.to_dict(), dict(request.headers)))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}" or self.mode == "denied":
            return {"title": "Unauthorized", "status": 401}, 401
        match self.mode:
            case "down":
                return {"title": "Unavailable", "status": 503, "detail": "postgres is down"}, 503
            case "limited":
                return {"title": "Too Many Requests", "status": 429}, 429
            case "broken":
                return "Traceback (most recent call last)", 500
            case "garbage":
                return '{"alerts": [{"alert_id": 7}], "findings": 3}', 200
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
        found = self._found(args)
        limit = int(args["limit"])
        more = start + limit < len(found)
        return {
            "alerts": found[start : start + limit],
            "next_cursor": base64.urlsafe_b64encode(b"%d" % (start + limit)).decode()
            if more
            else None,
        }

    def _found(self, args: Any) -> list[dict[str, Any]]:
        return sorted(
            filter(lambda item: _fits(item, args), self.alerts),
            key=lambda item: item["last_seen"],
            reverse=True,
        )

    def _me(self) -> Any:
        name = unquote(flask.request.headers["X-AuditFlow-User"])
        if name in self.disabled:
            return {"title": "Forbidden", "status": 403, "detail": "This person is disabled."}, 403
        return {"name": name, "kind": "person", "role": self.role}

    def _audit(self) -> Any:
        reports = flask.request.get_json()["reports"]
        self.reports.extend(reports)
        return {"stored": len(reports)}

    def _second_factor(self) -> Any:
        if unquote(flask.request.headers["X-AuditFlow-User"]) in self.disabled:
            return {"title": "Forbidden", "status": 403, "detail": "This person is disabled."}, 403
        if self.factor is None:
            return {"enabled": False}
        return {
            "enabled": True,
            "encrypted_secret": self.factor["encrypted_secret"],
            "recovery_codes": len(self.factor["hashes"]),
        }

    def _enable_second_factor(self) -> Any:
        if self.factor is not None:
            return {"title": "Conflict", "status": 409, "detail": "It is enabled already."}, 409
        body = flask.request.get_json()
        self.factor = {
            "encrypted_secret": body["encrypted_secret"],
            "hashes": set(body["recovery_hashes"]),
            "step": 0,
        }
        return self._second_factor()

    def _use_step(self) -> Any:
        step = flask.request.get_json()["step"]
        if self.factor is None or step <= self.factor["step"]:
            return {"title": "Conflict", "status": 409, "detail": "It was used."}, 409
        self.factor["step"] = step
        return self._second_factor()

    def _use_recovery_code(self) -> Any:
        used = flask.request.get_json()["hash"]
        if self.factor is None or used not in self.factor["hashes"]:
            return {"title": "Conflict", "status": 409, "detail": "There is none."}, 409
        self.factor["hashes"].remove(used)
        return self._second_factor()

    def _delete_second_factor(self) -> Any:
        if self.factor is None:
            return {"title": "Not Found", "status": 404, "detail": "There is none."}, 404
        self.factor = None
        return {"enabled": False}

    def _put_user(self) -> Any:
        name = flask.request.args["name"]
        self.roles_set.append((name, flask.request.get_json()))
        return {"name": name, "role": flask.request.get_json()["role"]}

    def _facets(self) -> Any:
        found = self._found(flask.request.args)

        titles = {item["rule"]["id"]: item["title"] for item in found}

        def count(values: list[str]) -> list[dict[str, Any]]:
            counted = Counter(values).most_common()
            return [{"value": value, "count": number} for value, number in counted]

        return {
            "total": len(found),
            "status": count([item["status"] for item in found]),
            "level": count([item["level"] for item in found]),
            "rule": [
                {**value, "label": titles[value["value"]]}
                for value in count([item["rule"]["id"] for item in found])
            ],
            "assignee": count([item["assignee"] or "" for item in found]),
            "actor": [
                {**value, "filter": text_filter.exact(value["value"])}
                for value in count([item["actor"] for item in found if item["actor"]])
            ],
            "technique": [{"value": "T1110", "count": len(found)}] if found else [],
            "sampled": self.sampled,
        }

    def _find(self, alert_id: str) -> dict[str, Any]:
        found = [item for item in self.alerts if item["alert_id"] == alert_id]
        return found[0] if found else flask.abort(404)

    def _get(self, alert_id: str) -> Any:
        item = self._find(alert_id)
        allowed = ["assign", "comment", "resolve", "snooze", "unsnooze"]
        allowed += ["acknowledge"] if item["status"] == "open" else ["reopen"]
        return {
            **item,
            "findings": findings(item),
            "findings_total": item["finding_count"],
            "allowed_actions": allowed,
        }

    def _events(self, alert_id: str) -> Any:
        return {"events": events(self._find(alert_id)), "next_cursor": None}

    def _event(self, alert_id: str) -> Any:
        item, event_id = self._find(alert_id), flask.request.args["event_id"]
        row = next(row for row in events(item) if row["event_id"] == event_id)
        return {**row, "note": item["title"], "large": "x" * self.record_characters}

    def _history(self, alert_id: str) -> Any:
        entries = [entry for entry in self.history if entry["alert_id"] == alert_id]
        return {"entries": entries[::-1], "next_before": None}

    def _route(self, alert_id: str) -> Any:
        item = self._find(alert_id)
        labels = {"rule": item["rule"]["id"], "level": item["level"]}
        labels |= {f"entity.{name}": value for name, value in item["entity"].items()}
        route: dict[str, Any] = {"receiver": "chat", "on_call": None, "matchers": [], "group": {}}
        return {"labels": labels, "routes": [route], "hidden_by": None}

    def _rule_statistics(self) -> Any:
        activity = [
            {"rule": rule, "title": rule, "alerts": number, "daily": [number]}
            for rule, number in Counter(item["rule"]["id"] for item in self.alerts).items()
        ]
        first_day = stamp(dt.datetime.now(dt.UTC))
        return {"days": 1, "first_day": first_day, "rules": activity}

    def _save_view(self) -> Any:
        self.views.append(
            {
                "view_id": str(uuid.uuid4()),
                "owner": unquote(flask.request.headers["X-AuditFlow-User"]),
                "created_at": stamp(dt.datetime.now(dt.UTC)),
                **flask.request.get_json(),
            }
        )
        return self.views[-1]

    def _delete_view(self, view_id: str) -> Any:
        view = next(view for view in self.views if view["view_id"] == view_id)
        self.views.remove(view)
        return view

    def _ledger(self) -> Any:
        if self.ledger is None:
            return {"title": "Not Found", "status": 404}, 404
        return self.ledger

    def _queues(self) -> Any:
        if self.letters is None:
            return {"title": "Not Found", "status": 404, "detail": "RABBITMQ_OPERATOR_PASS"}, 404
        return {
            "queues": [
                {"name": "audit_events", "messages": 7, "consumers": 1, "dead_letters": 2},
                {"name": "audit_alerts", "messages": 0, "consumers": 0, "dead_letters": 0},
            ]
        }

    def _dead_letters(self, queue: str) -> Any:
        found = self.letters or []
        return {
            "queue": queue,
            "total": len(found),
            "examined": len(found),
            "reasons": [{"reason": "not JSON", "count": len(found)}],
            "letters": found,
        }

    def _dead_letter(self, queue: str, key: str) -> Any:
        letter = next(item for item in self.letters or [] if item["key"] == key)
        return {"queue": queue, "letter": letter, "headers": {}, "body": letter["beginning"]}

    def _change_dead_letters(self, queue: str, action: str) -> Any:
        self.dead_letter_requests.append((action, flask.request.get_json()))
        return {"changed": 1, "left": 1, "complete": True}

    def _notifications(self) -> Any:
        return {"notifications": [], "next_after": None}

    def _change(self, item: dict[str, Any], action: str, body: dict[str, Any]) -> None:
        before = dict(item)
        match action:
            case "acknowledge":
                item["status"] = "acknowledged"
            case "assign":
                item["assignee"] = body["assignee"]
            case "resolve":
                item |= {"status": "resolved", "verdict": body["verdict"]}
            case "reopen":
                item |= {"status": "open", "verdict": None}
            case "snooze":
                item["snoozed_until"] = body.get("until")
            case "undo":
                item |= self.bulk.pop(item["alert_id"])[0]
        if action != "undo":
            self.bulk[item["alert_id"]] = [before]
        item["triage_version"] += 1
        item["change_seq"] += 100_000
        self.history.append(
            {
                "number": len(self.history) + 1,
                "alert_id": item["alert_id"],
                "at": stamp(dt.datetime.now(dt.UTC)),
                "actor": unquote(flask.request.headers["X-AuditFlow-User"]),
                "actor_kind": "person",
                "action": action,
                "from_status": before["status"],
                "to_status": item["status"],
                "hash": "0" * 64,
                **{
                    key: value
                    for key, value in body.items()
                    if key in {"comment", "assignee", "verdict"}
                },
            }
        )

    def _act(self, alert_id: str, action: str) -> Any:
        item, body = self._find(alert_id), flask.request.get_json()
        self.actions.append((action, body))
        match = flask.request.headers["If-Match"]
        if match not in {"*", f'"{item["triage_version"]}"'}:
            detail = "The alert has changed since it was read."
            return {"title": "Precondition Failed", "status": 412, "detail": detail}, 412
        if action == "acknowledge" and item["status"] != "open":
            detail = f"An alert that is {item['status']} does not allow the action {action}."
            return {"title": "Conflict", "status": 409, "detail": detail}, 409
        self._change(item, action, body)
        return item

    def _bulk(self) -> Any:
        body = flask.request.get_json()
        self.actions.append((body["action"], body))
        if body.get("filter") is not None:
            selected = self._found(body["filter"])
        else:
            selected = [self._find(alert_id) for alert_id in body["alert_ids"]]
        changed = [
            item for item in selected if body["action"] != "acknowledge" or item["status"] == "open"
        ]
        bulk_id = str(uuid.uuid4())
        self.bulk[bulk_id] = [dict(item) for item in changed]
        for item in changed:
            self._change(item, body["action"], body)
        failures = [
            {"alert_id": item["alert_id"], "reason": "It is not open."}
            for item in selected
            if item not in changed
        ]
        return {
            "bulk_id": bulk_id,
            "changed": len(changed),
            "failed": len(failures),
            "failures": failures,
        }

    def _undo_bulk(self, bulk_id: str) -> Any:
        before = self.bulk.pop(bulk_id)
        for state in before:
            self._find(state["alert_id"]).update(state)
        return {"bulk_id": bulk_id, "changed": len(before)}


def _fits(item: dict[str, Any], args: Any) -> bool:
    for name in ("status", "severity", "level"):
        if args.get(name) and item[name] not in args[name].split(","):
            return False
    if any(
        args.get(name) and item[field] != text_filter.parse(args[name]).value
        for name, field in NAMES.items()
    ):
        return False
    if "assignee" in args and (item["assignee"] or "") != args["assignee"]:
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
