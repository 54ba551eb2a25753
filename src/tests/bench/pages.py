"""Requests per second of the HTTP APIs and the dashboard, beside minimal applications."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx
from psycopg2 import sql

from auditflow_local import ports
from auditflow_local.processes import http_ok
from notification_service.database.alert_filters import SEARCHED

from . import http_load
from .environment import ADMIN, BARE_QUEUE, Platform, wait_for

_ROOT: Final = Path(__file__).parents[3]
_LIST: Final = "/api/v1/alerts?limit=50"
#: The name of one of 40 hosts.
_SEARCH: Final = f"{_LIST}&q=web-07"
#: The list of the previous API contains counts.
_LIST_WITH_COUNTS: Final = "/alerts?limit=50"
#: Page of the list that counts as deep, with 200 alerts per page.
_DEEP_PAGES: Final = 30
#: Number of pages of the list, and of alerts, that clients read in turn.
_DIFFERENT_LISTS: Final = 16
_DIFFERENT_ALERTS: Final = 50
#: Number of alerts of which the dashboard keeps no page, because there are too many.
_MANY_ALERTS: Final = 1_000
CLIENTS: Final = 8
_UNFINISHED: Final = """
    SELECT EXISTS (SELECT FROM alert_outbox) OR EXISTS (
        SELECT FROM alerts, maintenance_progress
        WHERE alerts.change_seq > maintenance_progress.change_seq
    )
"""
_COUNT_COPIES: Final = """
    INSERT INTO alert_counts
    SELECT status, level, rule_id, environment, assignee, verdict, count(*) FROM alerts
    WHERE change_seq > %s GROUP BY status, level, rule_id, environment, assignee, verdict
"""
_COUNT_COPIES_BY_DAY: Final = """
    INSERT INTO alert_days
    SELECT (last_seen AT TIME ZONE 'UTC')::date, status, level, rule_id, environment, assignee,
        verdict, count(*), true FROM alerts
    WHERE change_seq > %s GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_TEXTS_OF_COPIES: Final = (
    f"INSERT INTO alert_texts SELECT alert_id, lower({SEARCHED}) FROM alerts WHERE change_seq > %s"
)
_MARK_TASKS: Final = """
    UPDATE maintenance_progress SET change_seq = (SELECT max(change_seq) FROM alerts)
"""

Measure = Callable[[float], float]


def measures(platform: Platform, bare: Mapping[str, int], size: int) -> dict[str, Measure]:
    """Return the measurements for a number of alerts, by name.

    Each takes a number of seconds and returns requests per second. ``bare`` contains the ports of the
    minimal applications.
    """
    api = {"Authorization": f"Bearer {platform.secrets['API_TOKEN']}"}
    alert_id, cursor = _alert_and_cursor(platform, api)
    port = platform.notification.port
    lists = [http_load.get(path, api) for path in _lists(platform, _DIFFERENT_LISTS)]
    alerts = [
        http_load.get(f"/api/v1/alerts/{name}", api)
        for name in _alerts(platform, _DIFFERENT_ALERTS)
    ]
    return {
        f"quart {size}": partial(_load, bare["quart"], http_load.get("/")),
        f"list {size}": partial(_load, port, http_load.get(_LIST, api)),
        f"different lists {size}": partial(_load, port, http_load.in_turn(lists)),
        f"different alerts {size}": partial(_load, port, http_load.in_turn(alerts)),
        f"deep page {size}": partial(_load, port, http_load.get(f"{_LIST}&cursor={cursor}", api)),
        f"list with counts {size}": partial(_load, port, http_load.get(_LIST_WITH_COUNTS, api)),
        f"one alert {size}": partial(_load, port, http_load.get(f"/api/v1/alerts/{alert_id}", api)),
        f"search {size}": partial(_load, port, http_load.get(_SEARCH, api)),
    }


def dashboard_measures(platform: Platform, bare: Mapping[str, int]) -> dict[str, Measure]:
    """Return the measurements of the dashboard, signed in, and of a minimal Flask application.

    Clients that read different pages have sessions of their own, and accept gzip as browsers do.
    """
    alert_id = _alerts(platform, 1)[0]
    session = {"Cookie": _sign_in(platform)}
    sessions = [{"Cookie": _sign_in(platform), "Accept-Encoding": "gzip"} for _ in range(CLIENTS)]
    lists = [
        path.replace(f"{_LIST}&", "/alerts?").replace(_LIST, "/alerts")
        for path in _lists(platform, CLIENTS)
    ]
    alerts = [f"/alerts/{name}" for name in _alerts(platform, CLIENTS)]
    many = [f"/alerts/{name}" for name in _alerts(platform, _MANY_ALERTS)]
    port = platform.dashboard.port

    def different(paths: Sequence[str]) -> http_load.Request:
        return http_load.in_turn(
            [http_load.get(path, sessions[n % CLIENTS]) for n, path in enumerate(paths)]
        )

    return {
        "flask": partial(_load, bare["flask"], http_load.get("/")),
        "dashboard list": partial(_load, port, http_load.get("/alerts", session)),
        "dashboard lists": partial(_load, port, different(lists)),
        "dashboard detail": partial(_load, port, http_load.get(f"/alerts/{alert_id}", session)),
        "dashboard details": partial(_load, port, different(alerts)),
        "dashboard new details": partial(_load, port, different(many)),
    }


def post_measures(platform: Platform, bare: Mapping[str, int]) -> dict[str, Measure]:
    """Return the measurements of ``POST /generate_event``, with 1 and 16 clients."""
    token = {"Authorization": f"Bearer {platform.secrets['INGEST_TOKEN']}"}
    service = http_load.post("/generate_event", token, _login)
    minimal = http_load.post("/publish", {}, _login)
    return {
        f"{name} {clients}": partial(_load, port, request, clients=clients)
        for clients in (1, 16)
        for name, port, request in (
            ("post", platform.generator.port, service),
            ("quart publish", bare["quart"], minimal),
        )
    }


@contextmanager
def minimal_applications(platform: Platform) -> Iterator[dict[str, int]]:
    """Serve the minimal applications with hypercorn. Yields their ports by framework."""
    environment = {
        **os.environ,
        "BENCH_BROKER": platform.rabbitmq.url(ADMIN),
        "BENCH_QUEUE": BARE_QUEUE,
    }
    started: list[subprocess.Popen[bytes]] = []
    found: dict[str, int] = {}
    try:
        for name, prefix in (("quart", ""), ("flask", "wsgi:")):
            found[name] = ports.pick()
            program = f"{prefix}src.tests.bench.bare_http:{name}_app"
            command = (sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{found[name]}")
            started.append(
                subprocess.Popen(
                    (*command, "--log-level", "warning", program),
                    cwd=_ROOT,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                )
            )
        for port in found.values():
            wait_for(partial(http_ok, "127.0.0.1", port, "/"), "a minimal application", every=0.1)
        yield found
    finally:
        for process in started:
            process.terminate()
            process.wait()


def grow(platform: Platform, size: int) -> None:
    """Copy alerts with new identities until there are ``size``. Needs some alerts to begin with.

    The copies need no work of the service: no routing, and no update of risks. Otherwise this work
    would run in the service during the measurements.
    """
    wait_for(
        lambda: not platform.query(_UNFINISHED)[0][0], "routing, risks and texts of all alerts"
    )
    existing = platform.alerts()
    source = min(existing, 1000)
    copies = -(-(size - existing) // source)
    if copies <= 0:
        return
    columns = platform.query(
        "SELECT attname, format_type(atttypid, atttypmod), EXISTS (SELECT FROM pg_index"
        " WHERE indrelid = attrelid AND indisunique AND attnum = ANY (indkey))"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = 'alerts'::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' AND attidentity = ''"
        " AND coalesce(pg_get_expr(adbin, adrelid), '') NOT LIKE 'nextval%%'"
        " ORDER BY attnum"
    )
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _, _ in columns)
    values = sql.SQL(", ").join(_value(*column) for column in columns)
    (last,) = platform.query("SELECT max(change_seq) FROM alerts")[0]
    with platform.session().cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no triggers
        cursor.execute(
            sql.SQL(
                "INSERT INTO alerts ({}) SELECT {} FROM (SELECT * FROM alerts LIMIT {}) source,"
                " generate_series(1, {}) copy LIMIT {}"
            ).format(
                names,
                values,
                sql.Literal(source),
                sql.Literal(copies),
                sql.Literal(size - existing),
            )
        )
        for statement in (_COUNT_COPIES, _COUNT_COPIES_BY_DAY, _TEXTS_OF_COPIES):
            cursor.execute(statement, (last,))
        cursor.execute(_MARK_TASKS)
        cursor.execute("RESET session_replication_role")
    platform.query("VACUUM ANALYZE")
    platform.query("CHECKPOINT")


def _value(name: str, kind: str, unique: bool) -> sql.Composable:
    column = sql.SQL("source.{}").format(sql.Identifier(name))
    if unique and kind == "uuid":
        return sql.SQL("gen_random_uuid()")
    if unique and kind == "text":
        return sql.SQL("{} || '-' || copy").format(column)
    if kind == "timestamp with time zone":
        return sql.SQL("{} - copy * interval '1 second'").format(column)
    return column


def _load(port: int, request: http_load.Request, seconds: float, clients: int = CLIENTS) -> float:
    return http_load.measure(port, request, clients=clients, seconds=seconds).rate


def _login(number: int) -> bytes:
    return json.dumps(
        {
            "event_type": "user_login",
            "action_result": "SUCCESS",
            "user_id": f"post-{number}",
            "server_hostname": "web-01",
            "client_ip": f"10.1.{number >> 8 & 255}.{number & 255}",
        }
    ).encode()


def _lists(platform: Platform, number: int) -> list[str]:
    """Return the paths of the first pages of the list."""
    paths, path = [], _LIST
    with _api_client(platform) as client:
        for _ in range(number):
            paths.append(path)
            cursor = client.get(path).raise_for_status().json()["next_cursor"]
            path = f"{_LIST}&cursor={cursor}"
    return paths


def _alerts(platform: Platform, number: int) -> list[str]:
    """Return the identifiers of the newest alerts."""
    found: list[str] = []
    path = "/api/v1/alerts?limit=200"
    with _api_client(platform) as client:
        while len(found) < number:
            page = client.get(path).raise_for_status().json()
            found += (alert["alert_id"] for alert in page["alerts"])
            path = f"/api/v1/alerts?limit=200&cursor={page['next_cursor']}"
    return found[:number]


def _api_client(platform: Platform) -> httpx.Client:
    token = platform.secrets["API_TOKEN"]
    return httpx.Client(
        base_url=platform.notification.url, headers={"Authorization": f"Bearer {token}"}
    )


def _alert_and_cursor(platform: Platform, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the id of the newest alert, and the cursor of a deep page."""
    cursor: dict[str, str] = {}
    newest = ""
    with httpx.Client(base_url=platform.notification.url, headers=dict(headers)) as client:
        for _ in range(_DEEP_PAGES):
            page = client.get(
                "/api/v1/alerts", params={"limit": "200", **cursor}
            ).raise_for_status()
            content = page.json()
            newest = newest or content["alerts"][0]["alert_id"]
            if content["next_cursor"] is None:
                break
            cursor = {"cursor": content["next_cursor"]}
    return newest, cursor["cursor"]


def _sign_in(platform: Platform) -> str:
    """Sign in to the dashboard. Returns the value of the Cookie header."""
    with httpx.Client(base_url=platform.dashboard.url) as client:
        form = client.get("/login").raise_for_status().text
        match = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
        assert match, "the sign-in form has no token"
        answer = client.post(
            "/login",
            data={
                "user": "admin",
                "password": platform.secrets["DASHBOARD_PASSWORD"],
                "csrf_token": match[1],
            },
        )
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
        return "; ".join(f"{name}={value}" for name, value in client.cookies.items())
