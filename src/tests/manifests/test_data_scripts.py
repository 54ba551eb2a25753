"""The scripts that pods mount, run against real servers: roles, backup, restore, Redis' users.

Only the folders in them are others here.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from pydantic import SecretStr

from auditflow.provisioning.plan import plan
from notification_service.migrate import MigrateSettings, migrate

ALERT = """
INSERT INTO alerts (alert_id, fingerprint, sequence, status, rule_id, rule_title, rule_revision,
    rule_level, rule_tags, severity, entity, title, description, environment, count, finding_count,
    first_seen, last_seen, newest_finding_id, approximate, opened_at, updated_at, version)
VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'open', 'r', 'r', '1', 'high', '{}', 'CRITICAL',
    '{}', 'Failed logins', 'Five', 'dev', 5, 1, now(), now(), gen_random_uuid(), false, now(),
    now(), 1)
"""


class Environment:
    """A namespace's database: a server, the mounted secrets, and the volume of the backups."""

    def __init__(self, server: Any, folder: Path, apps: Path) -> None:
        self.server = server
        self.apps = apps
        self.secrets = plan({})
        self.mounted = folder / "secrets"
        self.backups = folder / "backups"
        self.backups.mkdir()
        self.mount()
        for statement in (  # the local stack's own: an image begins with nothing
            "DROP DATABASE auditflow",
            "DROP ROLE auditflow_app, auditflow_owner",
            "CREATE DATABASE auditflow",
        ):
            self.as_superuser(statement, database="postgres")
        self.roles()

    def mount(self) -> None:
        for name, contents in self.secrets.items():
            (self.mounted / name).mkdir(parents=True, exist_ok=True)
            for key, value in contents.items():
                (self.mounted / name / key).write_text(value)

    def as_superuser(self, statement: str, database: str = "auditflow") -> None:
        connection = psycopg2.connect(self.server.dsn("postgres", database=database))
        connection.autocommit = True
        connection.cursor().execute(statement)
        connection.close()

    def connect(self, role: str, password: str) -> Any:
        return psycopg2.connect(
            host=self.server.host, port=self.server.port, dbname="auditflow", user=role,
            password=password,
        )  # fmt: skip

    def script(self, path: str, secret: str) -> str:
        text = (self.apps / "data/postgres" / path).read_text()
        return text.replace("/run/secrets/postgres", str(self.mounted / secret)).replace(
            "/backup", str(self.backups)
        )

    def roles(self) -> None:
        self._run(
            ("psql", "--no-psqlrc", "--quiet", self.server.dsn("postgres", database="auditflow")),
            self.script("base/roles.sql", "postgres"),
        )

    def backup(self, keep_days: int = 14) -> None:
        self._run(
            ("sh", "-s"),
            self.script("base/backup.sh", "postgres-backup"),
            PGUSER="auditflow_reader",
            KEEP_DAYS=str(keep_days),
        )

    def restore(self) -> str:
        return self._run(
            ("sh", "-s"),
            self.script("restore/restore.sh", "notification-service-migrate"),
            PGUSER="auditflow_owner",
        )

    def _run(self, command: tuple[str, ...], script: str, **variables: str) -> str:
        where = {"PGHOST": self.server.host, "PGPORT": str(self.server.port),
                 "PGDATABASE": "auditflow"}  # fmt: skip
        done = subprocess.run(
            command, input=script, env=os.environ | where | variables, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def migrate(self) -> None:
        settings = MigrateSettings(
            pg_host=self.server.host, pg_port=self.server.port, pg_user="auditflow_owner",
            pg_password=SecretStr(self.secrets["notification-service-migrate"]["PG_PASSWORD"]),
        )  # fmt: skip
        migrate(settings, say=lambda _: None)


@pytest.fixture
def environment(make_postgres: Callable[[Path], Any], tmp_path: Path, root: Path) -> Environment:
    return Environment(make_postgres(tmp_path / "pod"), tmp_path, root / "apps")


@contextmanager
def exporter(program: str, **variables: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A real exporter, as its container is told to run; gives what it shows, by series."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}; Debian has it as a package")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        (program, f"--web.listen-address=127.0.0.1:{port}"), env=os.environ | variables,
        stdout=sys.stderr,
    )  # fmt: skip

    def shown() -> dict[str, float]:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    lines = answer.read().decode().splitlines()
                break
            except OSError:
                assert process.poll() is None, f"{program} ended"
                assert time.monotonic() < deadline
                time.sleep(0.02)
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}

    try:
        yield shown
    finally:
        process.terminate()
        process.wait()


def test_postgresql_is_measured_by_one_who_sees_no_data(
    environment: Environment, tmp_path: Path
) -> None:
    environment.migrate()
    password = environment.secrets["postgres"]["auditflow_monitor"]
    session = environment.connect("auditflow_monitor", password)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), session.cursor() as cursor:
        cursor.execute("SELECT * FROM alerts")
    session.close()
    file = tmp_path / "password"
    file.write_text(password)
    server = environment.server
    with exporter(
        "prometheus-postgres-exporter",
        DATA_SOURCE_URI=f"{server.host}:{server.port}/auditflow?sslmode=disable",
        DATA_SOURCE_USER="auditflow_monitor",
        DATA_SOURCE_PASS_FILE=str(file),
    ) as shown:
        series = shown()
        assert series["pg_up"] == 1
        names = {one.partition("{")[0] for one in series}
        assert names >= {"pg_stat_activity_count", "pg_settings_max_connections"}
        sizes = [one for one in series if one.startswith("pg_database_size_bytes")]
        assert any('datname="auditflow"' in one for one in sizes)


def count(connection: Any) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alerts")
        return int(cursor.fetchone()[0])


def test_the_roles_are_those_that_the_services_and_the_migration_need(
    environment: Environment,
) -> None:
    environment.migrate()
    secrets = environment.secrets
    app = environment.connect("auditflow_app", secrets["notification-service"]["PG_PASSWORD"])
    with app, app.cursor() as cursor:
        cursor.execute(ALERT)
    assert count(app) == 1
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), app.cursor() as cursor:
        cursor.execute("DROP TABLE alerts")
    app.close()
    reader = environment.connect("auditflow_reader", secrets["postgres-backup"]["PGPASSWORD"])
    assert count(reader) == 1
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), reader.cursor() as cursor:
        cursor.execute("DELETE FROM alerts")
    reader.close()


def test_what_was_lost_comes_back_from_the_backup(environment: Environment) -> None:
    environment.migrate()
    password = environment.secrets["notification-service"]["PG_PASSWORD"]
    app = environment.connect("auditflow_app", password)
    with app, app.cursor() as cursor:
        cursor.execute(ALERT)
    environment.backup()
    app.close()

    # The namespace is gone, and comes back empty.
    environment.as_superuser("DROP DATABASE auditflow WITH (FORCE)", database="postgres")
    environment.as_superuser("CREATE DATABASE auditflow", database="postgres")
    environment.roles()

    assert "1 alerts" in environment.restore()
    app = environment.connect("auditflow_app", password)
    with app, app.cursor() as cursor:
        cursor.execute(ALERT)
    assert count(app) == 2, "and the service may work on"
    app.close()
    environment.migrate()


def test_a_restore_over_what_is_there_takes_all_of_it_or_nothing(environment: Environment) -> None:
    environment.migrate()
    environment.backup()
    environment.as_superuser(ALERT)
    (dump,) = environment.backups.glob("*.dump")
    whole = dump.read_bytes()
    dump.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssertionError):
        environment.restore()
    reader = environment.connect(
        "auditflow_reader", environment.secrets["postgres-backup"]["PGPASSWORD"]
    )
    assert count(reader) == 1
    reader.close()
    dump.write_bytes(whole)
    assert "0 alerts" in environment.restore()
    environment.migrate()
    dump.unlink()
    environment.backup()
    assert "0 alerts" in environment.restore(), "what was restored can be backed up and restored"


def test_old_backups_go_and_a_broken_one_is_never_kept(environment: Environment) -> None:
    environment.migrate()
    old = environment.backups / "auditflow-20200101T000000Z.dump"
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    environment.backup()
    assert not old.exists()
    (environment.mounted / "postgres-backup/PGPASSWORD").write_text("wrong")
    with pytest.raises(AssertionError):
        environment.backup()
    assert len(list(environment.backups.glob("*.dump"))) == 1


def test_a_password_is_rotated_under_an_open_session(environment: Environment) -> None:
    """docs/how-to/rotate-secrets.md: PostgreSQL."""
    environment.migrate()
    old = environment.secrets["notification-service"]["PG_PASSWORD"]
    session = environment.connect("auditflow_app", old)
    kept = {
        name: data
        for name, data in environment.secrets.items()
        if name not in {"notification-service", "postgres", "rabbitmq"}
    }
    environment.secrets = kept | plan(kept)
    environment.mount()
    environment.roles()
    assert count(session) == 0, "who is in stays in"
    session.close()
    with pytest.raises(psycopg2.OperationalError):
        environment.connect("auditflow_app", old)
    environment.connect(
        "auditflow_app", environment.secrets["notification-service"]["PG_PASSWORD"]
    ).close()


@pytest.fixture
def redis_port(
    tmp_path: Path, root: Path, unused_tcp_port: int, secrets: dict[str, dict[str, str]]
) -> Iterator[int]:
    (tmp_path / "users.acl").write_text(secrets["redis"]["users.acl"])
    configuration = (root / "apps/data/redis/base/redis.conf").read_text()
    file = tmp_path / "redis.conf"
    file.write_text(
        configuration.replace("/data", str(tmp_path)).replace("/run/secrets/redis", str(tmp_path))
        + f"\nport {unused_tcp_port}\nbind 127.0.0.1\n"
    )
    server = subprocess.Popen(("redis-server", str(file)), stdout=sys.stderr)
    deadline = time.monotonic() + 10
    try:
        while True:
            try:
                redis.Redis(port=unused_tcp_port).ping()
            except redis.AuthenticationError:
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield unused_tcp_port
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def unused_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def secrets() -> dict[str, dict[str, str]]:
    return plan({})


def test_redis_knows_the_service_and_refuses_to_forget(
    redis_port: int, secrets: dict[str, dict[str, str]]
) -> None:
    password = secrets["audit-log-analysis"]["REDIS_PASSWORD"]
    with redis.Redis(
        port=redis_port, username="audit-log-analysis", password=password, decode_responses=True
    ) as service:
        assert service.zadd("window", {"event": 1})
        assert service.eval("return redis.call('ZCARD', KEYS[1])", 1, "window") == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            service.flushall()
    people = secrets["redis-people"]["auditflow-admin"]
    with redis.Redis(
        port=redis_port, username="auditflow-admin", password=people, decode_responses=True
    ) as admin:
        assert admin.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert admin.config_get("appendonly") == {"appendonly": "yes"}


def test_redis_is_measured_by_one_who_sees_no_window(
    redis_port: int, secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    user, password = "auditflow-monitor", secrets["redis-people"]["auditflow-monitor"]
    with redis.Redis(port=redis_port, username=user, password=password) as monitor:
        assert monitor.ping()
        for forbidden in (
            ("GET", "window"),
            ("SCAN", "0"),
            ("CONFIG", "GET", "*"),
            ("ACL", "LIST"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                monitor.execute_command(*forbidden)
    address = f"redis://127.0.0.1:{redis_port}"
    file = tmp_path / "exporter.json"
    written = secrets["redis-exporter"]["exporter.json"]
    file.write_text(written.replace("redis://127.0.0.1:6379", address))
    with exporter(
        "prometheus-redis-exporter",
        REDIS_ADDR=address,
        REDIS_USER=user,
        REDIS_PASSWORD_FILE=str(file),
        REDIS_EXPORTER_CONFIG_COMMAND="-",
    ) as shown:
        series = shown()
        assert series["redis_up"] == 1
        assert series["redis_memory_max_bytes"] == 256 * 2**20
        assert series["redis_memory_used_bytes"] > 0
