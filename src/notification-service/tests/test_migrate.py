"""Migrations: of an empty database, repeated, simultaneous; and the rights of the service."""

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import alembic.command
import psycopg2
import pytest
import sqlalchemy

from auditflow.contract import event_hashes
from auditflow_local.servers.postgres import Database, Postgres
from auditflow_local.servers.postgres_roles import APP, OWNER
from notification_service import schema
from notification_service.migrate import MigrationError, migrate

SCRIPT = str(Path(sys.executable).parent / "notification-service-migrate")


def _run(database: Database, **env: str) -> subprocess.CompletedProcess[str]:
    server = database.server
    return subprocess.run(
        [SCRIPT],
        env={
            "PG_HOST": server.host,
            "PG_PORT": str(server.port),
            "PG_DB": database.name,
            "PG_USER": OWNER,
            "PG_PASSWORD": server.password_of(OWNER),
            **env,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _head() -> str:
    with schema.migrations() as known:
        return str(known.scripts.get_current_head())


def test_from_empty_and_again(postgres: Postgres) -> None:
    empty = postgres.fresh_database()

    first, second = _run(empty), _run(empty)

    assert (first.returncode, first.stderr) == (0, "")
    assert "migrated to 0001: findings, by month" in first.stdout
    assert "auditflow_app may read, add and change findings and alerts" in first.stdout
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.startswith(f"the schema is up to date, at {_head()}\n")


def test_a_newer_schema_is_left_alone_by_a_version_that_came_back(postgres: Postgres) -> None:
    migrated = postgres.fresh_database()
    assert _run(migrated).returncode == 0
    with psycopg2.connect(migrated.dsn(OWNER)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    again = _run(migrated)

    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("the schema is newer than this version, at 9999")


def test_two_at_once(postgres: Postgres, settings_for: Callable[..., Any]) -> None:
    empty = postgres.fresh_database()
    reports: list[list[str]] = [[], []]

    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(migrate, settings_for(empty, OWNER), report=lines.append)
            for lines in reports
        ]
        for run in runs:
            run.result(timeout=60)

    reports = [[line for line in lines if not line.startswith("waiting")] for lines in reports]
    assert sorted(lines[0].partition(":")[0] for lines in reports) == [
        "migrated to 0001",
        f"the schema is up to date, at {_head()}",
    ]


def test_it_waits_for_a_database_that_is_not_up_yet(
    make_postgres: Callable[[Path], Postgres], tmp_path: Path, settings_for: Callable[..., Any]
) -> None:
    server = make_postgres(tmp_path)
    settings = settings_for(Database(server, "auditflow"), OWNER)
    server.stop()
    reports: list[str] = []

    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(migrate, settings, report=reports.append)
        server.start()
        run.result(timeout=60)

    assert reports[0].startswith("waiting for PostgreSQL at 127.0.0.1:")
    assert reports[1].startswith("migrated to 0001")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"PG_PORT": "1", "PG_WAIT_SECONDS": "0.1"}, "cannot connect to PostgreSQL at 127.0.0.1:1"),
        ({"PG_PASSWORD": "wrong", "PG_WAIT_SECONDS": "0"}, "password authentication failed"),
        ({"PG_APP_ROLE": "nobody_here"}, "the role nobody_here of the service does not exist"),
    ],
)
def test_a_clear_sentence_when_it_cannot(
    postgres: Postgres, changed: dict[str, str], message: str
) -> None:
    done = _run(postgres.fresh_database(), **changed)

    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_settings_are_named(postgres: Postgres) -> None:
    done = _run(postgres.fresh_database(), PG_PASSWORD="", PG_APP_ROLE="Robert'); DROP")

    assert done.returncode == 2
    assert "PG_PASSWORD: " in done.stderr
    assert "PG_APP_ROLE: " in done.stderr


@pytest.mark.parametrize(
    "forbidden",
    [
        "DROP TABLE alerts",
        "DELETE FROM alerts",
        "DELETE FROM findings",
        "DELETE FROM findings_default",
        "TRUNCATE alerts",
        "ALTER TABLE alerts ADD COLUMN more text",
        "CREATE TABLE more ()",
        "UPDATE alembic_version SET version_num = '0'",
        "UPDATE findings_{month} SET count = 1",
        "SELECT pg_advisory_lock(1); CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS '1'",
    ],
)
def test_the_service_may_not(query: Any, now: dt.datetime, forbidden: str) -> None:
    with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedFunction)):
        query(forbidden.format(month=f"{now:%Y_%m}"), role=APP)


def test_partitions_are_made_for_months_near_now_and_no_others(
    query: Any, now: dt.datetime
) -> None:
    def ensure(day: dt.date) -> bool:
        ((made,),) = query("SELECT findings_ensure_month(%s)", day, role=APP)
        return bool(made)

    today = now.date()
    assert ensure(today - dt.timedelta(days=200))
    assert ensure(today - dt.timedelta(days=200))
    assert not ensure(today - dt.timedelta(days=500))
    assert not ensure(today + dt.timedelta(days=75))
    assert not ensure(dt.date(1, 1, 1))
    assert not ensure(dt.date(9999, 12, 31))


def test_the_default_partition_gives_its_rows_to_a_new_month(
    query: Any, store: Any, make_finding: Any, now: dt.datetime
) -> None:
    # given a row of a month that has no partition, in the default one
    store.store([make_finding(at=now)])
    month = f"findings_{now.astimezone(dt.UTC):%Y_%m}"
    query(f"ALTER TABLE findings DETACH PARTITION {month}")
    query(f"INSERT INTO findings SELECT * FROM {month}")
    query(f"DROP TABLE {month}")
    assert query("SELECT count(*) FROM findings_default") == [(1,)]

    # when the month gets its partition
    query("SELECT findings_ensure_month(%s)", now.date(), role=APP)

    # then the row is there, and where it belongs
    assert query("SELECT count(*) FROM findings_default") == [(0,)]
    assert query(f"SELECT count(*) FROM {month}") == [(1,)]


def test_a_database_that_is_not_utf8_is_refused(
    postgres: Postgres, settings_for: Callable[..., Any]
) -> None:
    empty = postgres.fresh_database()
    name = f"{empty.name}_ascii"
    admin = psycopg2.connect(postgres.dsn("postgres", database="postgres"))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(
            f"CREATE DATABASE {name} OWNER {OWNER} ENCODING 'SQL_ASCII' TEMPLATE template0"
            " LOCALE 'C'"
        )
    admin.close()

    with pytest.raises(MigrationError, match="create it with ENCODING 'UTF8'"):
        migrate(settings_for(Database(postgres, name), OWNER), report=lambda _: None)


#: How the previous version writes and updates an alert with its finding.
PREVIOUS_VERSION = """
    INSERT INTO findings (bucket_start, finding_id, alert_id, fingerprint, rule_id, rule_title,
        rule_revision, rule_level, rule_tags, severity, entity, first_seen, last_seen, count,
        description, evidence, actor, client_ip, environment, approximate, updated_at)
    VALUES (now(), gen_random_uuid(), %(alert)s, %(alert)s, 'r', 'Rule', '1', 'high', '{}',
        'CRITICAL', '{"user_id": "Alice"}', now(), now(), 3, 'Text',
        '[{"timestamp": "2026-01-31T08:00:00Z", "event_id": "e1"},
          {"timestamp": "2026-01-31T08:00:00Z", "event_id": "e2"}]',
        'Alice', '203.0.113.7', 'prod', false, now());
    INSERT INTO alerts (alert_id, fingerprint, sequence, status, rule_id, rule_title,
        rule_revision, rule_level, rule_tags, severity, entity, title, description, actor,
        client_ip, environment, count, finding_count, first_seen, last_seen, newest_finding_id,
        approximate, opened_at, updated_at, version)
    VALUES (%(alert)s, %(alert)s, 1, 'open', 'r', 'Rule', '1', 'high', '{}', 'CRITICAL',
        '{"user_id": "Alice"}', 'Rule', 'Text', 'Alice', '203.0.113.7', 'prod', 3, 1, now(), now(),
        gen_random_uuid(), false, now(), now(), 1);
    UPDATE alerts SET count = 3, version = 2 WHERE alert_id = %(alert)s
"""
ALERT = "0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"


def test_existing_alerts_get_levels_event_hashes_and_observables(
    postgres: Postgres, settings_for: Callable[..., Any]
) -> None:
    # given a database of the previous version, with an alert
    database = postgres.fresh_database()
    with (
        closing(psycopg2.connect(database.dsn(OWNER))) as connection,
        schema.migrations() as known,
    ):
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg2://", creator=lambda: connection, poolclass=sqlalchemy.StaticPool
        )
        with engine.connect() as bound:
            known.config.attributes["connection"] = bound
            alembic.command.upgrade(known.config, "0001")
            bound.commit()
        with connection, connection.cursor() as cursor:
            cursor.execute(PREVIOUS_VERSION, {"alert": ALERT})

    # when it is migrated
    migrate(settings_for(database, OWNER), report=lambda _: None)

    # then the alert has the new fields
    with (
        closing(psycopg2.connect(database.dsn(OWNER))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "SELECT level, severity, level_rank, count, count_is_estimate, unlisted_events,"
            " encode(event_hashes, 'hex'), entity_kind, entity_value, change_seq > 0 FROM alerts"
        )
        assert cursor.fetchall() == [
            ("high", "WARNING", 3, 3, True, 1, event_hashes.of_events(["e1", "e2"]),
             "user", "alice", True),
        ]  # fmt: skip
        cursor.execute("SELECT kind, value FROM alert_observables ORDER BY 1")
        assert cursor.fetchall() == [("address", "203.0.113.7"), ("user", "alice")]


def test_the_previous_version_can_write_to_the_new_schema(query: Any) -> None:
    with_rights_of_the_service = {"role": APP}

    query(PREVIOUS_VERSION.replace("%(alert)s", f"'{ALERT}'::uuid"), **with_rights_of_the_service)

    assert query("SELECT level, level_rank, triage_version, change_seq > 1 FROM alerts") == [
        ("high", 3, 1, True)
    ]
