"""Lists, facets and actions with up to a million alerts: time of each request, and the rate of lists.

``python -m src.tests.bench.alerts_at_scale --alerts 1000000`` starts a private PostgreSQL and the
API, and compares the list with a Quart route that answers with a constant, in the same process.
"""

import http.client
import json
import multiprocessing
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import psycopg2
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from auditflow.settings import PostgresSettings, ServiceSettings
from auditflow.telemetry import logs
from auditflow_local import packages, ports
from auditflow_local.servers.postgres import Postgres
from auditflow_local.servers.postgres_roles import APP, ARCHIVE, OWNER, SUPERUSER
from notification_service.api import app
from notification_service.database.access_store import AccessStore
from notification_service.database.alert_reader import AlertReader
from notification_service.database.change_feed import ChangeFeed
from notification_service.database.connection import connect
from notification_service.database.pool import Pool
from notification_service.database.risk import update_risks
from notification_service.database.texts import update_texts
from notification_service.database.triage_store import TriageStore
from notification_service.metrics import Metrics
from notification_service.migrate import MigrateSettings, migrate

TOKEN: Final = "bench"
#: A tenth is not resolved. Entities have 20 alerts each. Alerts are of the last 30 days.
_FILL: Final = """
    INSERT INTO alerts (alert_id, fingerprint, sequence, status, verdict, rule_id, rule_title,
        rule_revision, rule_level, rule_tags, level, level_rank, severity, entity, entity_kind,
        entity_value, title, description, actor, client_ip, resource, server_hostname, environment,
        count, finding_count, first_seen, last_seen, newest_finding_id, approximate, opened_at,
        updated_at, version, change_seq)
    SELECT id, md5('f' || n)::uuid, 1,
        CASE WHEN n % 10 = 0 THEN 'open' WHEN n % 97 = 0 THEN 'acknowledged' ELSE 'resolved' END,
        CASE WHEN n % 10 <> 0 AND n % 97 <> 0 THEN
            (ARRAY['true_positive', 'false_positive', 'benign'])[1 + n % 3] END,
        'rule-' || n % 60, 'Rule ' || n % 60, '1', level, '{attack.t1110}', level,
        array_position(levels, level) - 1,
        (ARRAY['INFO', 'INFO', 'WARNING', 'WARNING', 'CRITICAL'])[array_position(levels, level)],
        json_build_object('user_id', 'user-' || n / 20), 'user', 'user-' || n / 20,
        'Rule ' || n % 60, '7 failed logins of user-' || n / 20 || ' on web-' || n % 200,
        'user-' || n / 20, '10.0.' || n % 250 || '.' || n % 199, 'sshd', 'web-' || n % 200,
        (ARRAY['prod', 'prod', 'staging'])[1 + n % 3], 7, 1, seen - interval '1 minute', seen,
        id, false, seen, seen, 1, n
    FROM (
        SELECT n, md5('a' || n)::uuid AS id, levels, levels[1 + (n * 7 % 5)] AS level,
               now() - n * (interval '30 days' / %(alerts)s) AS seen
        FROM generate_series(1, %(alerts)s) AS n,
             (SELECT '{informational,low,medium,high,critical}'::text[] AS levels) AS named
    ) AS made
"""
_AFTER: Final = (
    "INSERT INTO alert_observables SELECT kind, value, alert_id FROM alerts CROSS JOIN LATERAL"
    " (VALUES ('user', actor), ('host', server_hostname), ('address', client_ip),"
    " ('resource', resource)) AS v (kind, value)",
    "INSERT INTO alert_counts SELECT status, level, rule_id, environment, assignee, verdict,"
    " count(*) FROM alerts GROUP BY 1, 2, 3, 4, 5, 6",
    "INSERT INTO alert_days SELECT (last_seen AT TIME ZONE 'UTC')::date, status, level, rule_id,"
    " environment, assignee, verdict, count(*), true FROM alerts GROUP BY 1, 2, 3, 4, 5, 6, 7",
    "SELECT setval('alert_changes', (SELECT max(change_seq) FROM alerts))",
)


@contextmanager
def database(alerts: int) -> Iterator[PostgresSettings]:
    """A private PostgreSQL that writes to the disk, with this number of alerts."""
    packages.ensure(packages.SERVERS)
    with tempfile.TemporaryDirectory() as folder:
        passwords = {role: secrets.token_hex(8) for role in (SUPERUSER, OWNER, APP, ARCHIVE)}
        server = Postgres(Path(folder) / "postgres", port=ports.pick(), passwords=passwords)
        server.start()
        try:
            address: dict[str, Any] = {
                "pg_host": server.host,
                "pg_port": server.port,
                "pg_db": server.database,
            }
            migrate(
                MigrateSettings(
                    **address, pg_user=OWNER, pg_password=SecretStr(server.password_of(OWNER))
                ),
                report=lambda _: None,
            )
            _fill(server, alerts)
            yield PostgresSettings(
                **address, pg_user=APP, pg_password=SecretStr(server.password_of(APP))
            )
        finally:
            server.destroy()


def measure(alerts: int, *, requests: int, seconds: float) -> dict[str, dict[str, float]]:
    """Measure each kind of request: milliseconds at p50 and p99, and the rate of some."""
    with database(alerts) as settings:
        # As in a system that has run for some time.
        pool = Pool(partial(connect, settings, name="bench", statement_seconds=600), size=1,
                    wait_seconds=1)  # fmt: skip
        for update in (update_risks, update_texts):
            while update(pool):
                pass
        pool.close()
        port = ports.pick()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=serve, args=(settings, port), daemon=True)
        process.start()
        try:
            return _measure(port, requests, seconds)
        finally:
            process.terminate()
            process.join(10)


def serve(settings: PostgresSettings, port: int) -> None:
    """Serve the API, and ``/bare``, until the process is terminated."""
    logs.configure("bench", level="WARNING")
    reading = partial(connect, settings, name="bench", statement_seconds=30)
    registry = CollectorRegistry()
    pool = Pool(reading, size=4, wait_seconds=1)
    api = app.create(
        app.Stores(
            AlertReader(pool), TriageStore(pool), AccessStore(pool), ChangeFeed(reading, pool), pool
        ),
        Health({}),
        registry,
        Metrics(registry),
        tokens=Tokens(SecretStr(TOKEN)),
    )

    @api.get("/bare")
    async def bare() -> str:
        return "Hello"

    serving.serve(api, ServiceSettings(host="127.0.0.1", port=port), mode="asgi")


def _fill(server: Postgres, alerts: int) -> None:
    with closing(psycopg2.connect(server.dsn(SUPERUSER))) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")  # no triggers
            cursor.execute(_FILL.replace("%(alerts)s", str(alerts)))
            for statement in _AFTER:
                cursor.execute(statement)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def _measure(port: int, requests: int, seconds: float) -> dict[str, dict[str, float]]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    _wait(client)
    first = _get(client, "/api/v1/alerts?status=open&limit=200")["alerts"]
    ids = iter([alert["alert_id"] for alert in first] * 100)
    deep = "/api/v1/alerts?limit=50"
    for _ in range(20):
        cursor = _get(client, deep)["next_cursor"]
        deep = f"/api/v1/alerts?limit=50&cursor={cursor}"
    paths = {
        "list": "/api/v1/alerts?limit=50",
        "list, page 21": deep,
        "list, open and acknowledged": "/api/v1/alerts?status=open,acknowledged",
        "list, critical": "/api/v1/alerts?level=critical",
        "list, by severity": "/api/v1/alerts?sort=severity",
        "list, by count": "/api/v1/alerts?sort=count",
        "list, by risk": "/api/v1/alerts?sort=risk",
        "list, one rule": "/api/v1/alerts?rule=rule-7",
        "list, one user": "/api/v1/alerts?actor=user-77",
        "list, prefix of users": "/api/v1/alerts?actor=user-77*",
        "list, one day": "/api/v1/alerts?since={since}&until={until}".format(**_day()),
        "list, text": "/api/v1/alerts?q=user-77",
        "list, text of no alert": "/api/v1/alerts?q=zzznot",
        "list, short text of no alert": "/api/v1/alerts?q=zq",
        "list, text of old alerts": "/api/v1/alerts?q=user-4999",
        "list, one host": "/api/v1/alerts?host=web-7",
        "list, active again": "/api/v1/alerts?active_again=true",
        "facets": "/api/v1/alerts/facets",
        "facets, open": "/api/v1/alerts/facets?status=open",
        "facets, technique": "/api/v1/alerts/facets?technique=T1110",
        "facets, one rule": "/api/v1/alerts/facets?rule=rule-7",
        "facets, unresolved and critical": (
            "/api/v1/alerts/facets?status=open,acknowledged&level=critical"
        ),
        "list, technique": "/api/v1/alerts?technique=T1110",
        "facets, one user": "/api/v1/alerts/facets?actor=user-77",
        "facets, one day": "/api/v1/alerts/facets?since={since}&until={until}".format(**_day()),
        "facets, last day": f"/api/v1/alerts/facets?since={_days_ago(1)}",
        "facets, last 7 days": f"/api/v1/alerts/facets?since={_days_ago(7)}",
        "facets, one host": "/api/v1/alerts/facets?host=web-7",
        "facets, text": "/api/v1/alerts/facets?q=user-77",
        "facets, text of no alert": "/api/v1/alerts/facets?q=zzznot",
        "facets, text in all alerts": "/api/v1/alerts/facets?q=failed",
        "facets, active again": "/api/v1/alerts/facets?active_again=true",
        "risk": "/api/v1/risk?kind=user&value=user-77",
    }
    results: dict[str, dict[str, float]] = {}
    results["bare Quart route"] = _rate(client, "/bare", seconds)
    for name, path in paths.items():
        results[name] = _times(partial(_get, client, path), requests)
    results["list"] |= _rate(client, paths["list"], seconds)
    results["one alert"] = _rate(client, f"/api/v1/alerts/{next(ids)}", seconds)
    results["acknowledge"] = _times(lambda: _post(client, next(ids)), requests)
    client.close()
    return results


def _day() -> dict[str, str]:
    return {"since": _days_ago(11), "until": _days_ago(10)}


def _days_ago(days: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86_400))


def _wait(client: http.client.HTTPConnection) -> Any:
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError):
            return _get(client, "/bare", decode=False)
        client.close()
        if time.monotonic() > deadline:
            raise click.ClickException("the API does not answer")
        time.sleep(0.05)


def _get(client: http.client.HTTPConnection, path: str, *, decode: bool = True) -> Any:
    client.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
    answer = client.getresponse()
    body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise click.ClickException(f"{path}: {answer.status} {body[:200]!r}")
    return json.loads(body) if decode else None


def _post(client: http.client.HTTPConnection, alert_id: str) -> None:
    client.request(
        "POST",
        f"/api/v1/alerts/{alert_id}/comment",
        body=b'{"comment": "Seen."}',
        headers={"Authorization": f"Bearer {TOKEN}", "If-Match": "*"},
    )
    answer = client.getresponse()
    answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise click.ClickException(f"comment: {answer.status}")


def _times(request: Callable[[], Any], number: int) -> dict[str, float]:
    durations = []
    for _ in range(number):
        started = time.perf_counter()
        request()
        durations.append((time.perf_counter() - started) * 1000)
    durations.sort()
    return {
        "p50 ms": statistics.median(durations),
        "p99 ms": durations[min(number - 1, int(number * 0.99))],
    }


def _rate(client: http.client.HTTPConnection, path: str, seconds: float) -> dict[str, float]:
    number, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        _get(client, path, decode=False)
        number += 1
    return {"per second": number / (time.perf_counter() - started)}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--alerts", default=1_000_000, show_default=True, help="Number of alerts.")
@click.option("--requests", default=200, show_default=True, help="Requests of each kind.")
@click.option("--seconds", default=3.0, show_default=True, help="Duration of each rate.")
def main(alerts: int, requests: int, seconds: float) -> None:
    """Measure lists, facets and actions with many alerts."""
    for name, figures in measure(alerts, requests=requests, seconds=seconds).items():
        shown = "  ".join(f"{kind} {value:,.1f}" for kind, value in figures.items())
        click.echo(f"{name:32} {shown}")


if __name__ == "__main__":
    main()
