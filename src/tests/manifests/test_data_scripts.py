"""The scripts that pods mount, with real servers: roles, backup, restore, users of Redis.

Only folders are replaced.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.manifest import Manifest
from auditflow_local import ports
from auditflow_local.polling import eventually
from provisioning import certificates
from provisioning.plan import plan

from .databases import ALERT, Database


@contextmanager
def exporter(program: str, **variables: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Run a real exporter with the arguments of its container. Returns its samples by series."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}; Debian has it as a package")
    port = ports.pick()
    process = subprocess.Popen(
        (program, f"--web.listen-address=127.0.0.1:{port}"), env=os.environ | variables,
        stdout=sys.stderr,
    )  # fmt: skip

    def shown() -> dict[str, float]:
        def read() -> list[str]:
            assert process.poll() is None, f"{program} ended"
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer,
            ):
                return answer.read().decode().splitlines()
            return []

        lines = eventually(read, what=program)
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}

    try:
        yield shown
    finally:
        process.terminate()
        process.wait()


def test_the_metrics_account_of_postgresql_reads_no_data(
    database: Database, tmp_path: Path
) -> None:
    database.migrate()
    password = database.secrets["postgres"]["auditflow_monitor"]
    session = database.connect("auditflow_monitor", password)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), session.cursor() as cursor:
        cursor.execute("SELECT * FROM alerts")
    session.close()
    file = tmp_path / "password"
    file.write_text(password)
    server = database.server
    with exporter(
        "prometheus-postgres-exporter",
        DATA_SOURCE_URI=f"{server.host}:{server.port}/auditflow?sslmode=disable",
        DATA_SOURCE_USER="auditflow_monitor",
        DATA_SOURCE_PASS_FILE=str(file),
    ) as shown:
        series = shown()
        assert series["pg_up"] == 1
        names = {sample.partition("{")[0] for sample in series}
        assert names >= {"pg_stat_activity_count", "pg_settings_max_connections"}
        sizes = [item for item in series if item.startswith("pg_database_size_bytes")]
        assert any('datname="auditflow"' in size for size in sizes)


def count(connection: Any) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alerts")
        return int(cursor.fetchone()[0])


def test_the_roles_are_those_that_the_services_and_the_migration_need(
    database: Database,
) -> None:
    database.migrate()
    secrets = database.secrets
    app = database.connect("auditflow_app", secrets["notification-service"]["PG_PASSWORD"])
    with app, app.cursor() as cursor:
        cursor.execute(ALERT)
    assert count(app) == 1
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), app.cursor() as cursor:
        cursor.execute("DROP TABLE alerts")
    app.close()
    reader = database.connect("auditflow_reader", secrets["postgres-backup"]["PGPASSWORD"])
    assert count(reader) == 1
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), reader.cursor() as cursor:
        cursor.execute("DELETE FROM alerts")
    reader.close()


def test_lost_data_is_restored_from_the_backup(database: Database) -> None:
    database.migrate()
    password = database.secrets["notification-service"]["PG_PASSWORD"]
    app = database.connect("auditflow_app", password)
    with app, app.cursor() as cursor:
        cursor.execute(ALERT)
    database.backup()
    app.close()

    # The namespace is gone, and comes back empty.
    database.as_superuser("DROP DATABASE auditflow WITH (FORCE)", database="postgres")
    database.as_superuser("CREATE DATABASE auditflow", database="postgres")
    database.roles()

    assert "1 alerts" in database.restore()
    app = database.connect("auditflow_app", password)
    with app, app.cursor() as cursor:
        cursor.execute(ALERT)
    assert count(app) == 2, "and the service may work on"
    app.close()
    database.migrate()


def test_a_restore_over_what_is_there_takes_all_of_it_or_nothing(database: Database) -> None:
    database.migrate()
    database.as_superuser(ALERT)
    database.backup()
    database.as_superuser(ALERT)
    (dump,) = database.backups.glob("*.dump")
    content = dump.read_bytes()
    dump.write_bytes(content[: len(content) // 2])
    with pytest.raises(AssertionError):
        database.restore()
    reader = database.connect("auditflow_reader", database.secrets["postgres-backup"]["PGPASSWORD"])
    assert count(reader) == 2
    reader.close()
    dump.write_bytes(content)
    assert "1 alerts" in database.restore()
    database.migrate()
    dump.unlink()
    database.backup()
    assert "1 alerts" in database.restore(), "what was restored can be backed up and restored"


def test_a_database_that_lost_its_alerts_does_not_push_out_the_backup_that_has_them(
    database: Database,
) -> None:
    database.migrate()
    database.as_superuser(ALERT)
    database.backup()
    (dump,) = database.backups.glob("*.dump")
    os.utime(dump, (0, 0))
    database.as_superuser("DELETE FROM alerts")
    database.backup()
    assert list(database.backups.glob("*.dump")) == [dump]
    assert "1 alerts" in database.restore()


def manifest_of(database: Database) -> Manifest:
    password = database.secrets["audit-event-archive"]["PG_PASSWORD"]
    return Manifest(partial(database.connect, "auditflow_archive", password))


def archive_file(path: str) -> ArchiveFile:
    hour = dt.datetime(2026, 5, 28, 20, tzinfo=dt.UTC)
    return ArchiveFile(path, "volume", hour, "okta", 7, 100, 1, 2, 1, 2, bytes(32))


def test_the_manifest_of_the_archive_is_restored_as_a_whole_or_not_at_all(
    database: Database,
) -> None:
    # Given a manifest, its dump, and a manifest of a new cluster with another file
    database.migrate()
    database.as_superuser(ALERT)
    with closing(manifest_of(database)) as manifest:
        manifest.migrate()
        manifest.commit([archive_file("a.parquet")], [b"a" * 16])
        database.backup()
        database.as_superuser("DROP SCHEMA archive CASCADE")
        database.roles()
        manifest.migrate()
        manifest.commit([archive_file("b.parquet")], [])
        (dump,) = database.backups.glob("archive-*.dump")
        content = dump.read_bytes()
        # when the dump is damaged, then nothing changes
        for damaged in (b"", content[: len(content) // 2], b"not a dump"):
            dump.write_bytes(damaged)
            with pytest.raises(AssertionError):
                database.restore_archive()
            assert manifest.paths() == ["b.parquet"]
        # when it is complete, then the manifest is that of the dump, and can be changed
        dump.write_bytes(content)
        assert "1 files with 7 events" in database.restore_archive()
        assert manifest.paths() == ["a.parquet"]
        assert manifest.known_batches([b"a" * 16, b"b" * 16]) == {b"a" * 16}
        manifest.migrate()
        manifest.commit([archive_file("c.parquet")], [])
        # and the notification service can read the log that it signs
        password = database.secrets["notification-service"]["PG_PASSWORD"]
        with closing(database.connect("auditflow_app", password)) as app, app.cursor() as cursor:
            cursor.execute("SELECT number FROM archive.file_log ORDER BY number")
            assert cursor.fetchall() == [(1,), (2,)]


def test_a_volume_without_a_dump_of_the_manifest_changes_nothing(database: Database) -> None:
    with closing(manifest_of(database)) as manifest:
        manifest.migrate()
        manifest.commit([archive_file("a.parquet")], [])
        with pytest.raises(AssertionError, match="there is no dump of a manifest here"):
            database.restore_archive()
        assert manifest.paths() == ["a.parquet"]


def test_a_volume_without_a_backup_changes_nothing(database: Database) -> None:
    database.migrate()
    database.as_superuser(ALERT)
    with pytest.raises(AssertionError, match="there is no backup here"):
        database.restore()
    database.backup()
    assert "1 alerts" in database.restore()


def test_old_backups_are_deleted_and_a_broken_backup_is_never_kept(database: Database) -> None:
    database.migrate()
    database.as_superuser(ALERT)
    old = database.backups / "auditflow-20200101T000000Z.dump"
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    database.backup()
    assert not old.exists()
    (database.mounted / "postgres-backup/PGPASSWORD").write_text("wrong")
    with pytest.raises(AssertionError):
        database.backup()
    assert len(list(database.backups.glob("*.dump"))) == 1


def test_a_password_is_rotated_under_an_open_session(database: Database) -> None:
    """docs/how-to/rotate-secrets.md: PostgreSQL."""
    database.migrate()
    old = database.secrets["notification-service"]["PG_PASSWORD"]
    session = database.connect("auditflow_app", old)
    kept = {
        name: data
        for name, data in database.secrets.items()
        if name not in {"notification-service", "postgres", "rabbitmq"}
    }
    database.secrets = kept | plan(kept)
    database.mount()
    database.roles()
    assert count(session) == 0, "who is in stays in"
    session.close()
    with pytest.raises(psycopg2.OperationalError):
        database.connect("auditflow_app", old)
    database.connect(
        "auditflow_app", database.secrets["notification-service"]["PG_PASSWORD"]
    ).close()


def connect(port: int, folder: Path, **login: Any) -> "redis.Redis":
    return redis.Redis(
        port=port, ssl=True, ssl_ca_certs=str(folder / "ca.crt"), decode_responses=True, **login
    )


@pytest.fixture
def redis_port(
    tmp_path: Path, root: Path, unused_tcp_port: int, secrets: dict[str, dict[str, str]]
) -> Iterator[int]:
    (tmp_path / "users.acl").write_text(secrets["redis"]["users.acl"])
    configuration = (root / "apps/data/redis/base/redis.conf").read_text()
    file = tmp_path / "redis.conf"
    file.write_text(
        configuration.replace("/data", str(tmp_path))
        .replace("/run/secrets/redis", str(tmp_path))
        .replace("/run/secrets/tls", str(tmp_path))
        .replace("tls-port 6379", f"tls-port {unused_tcp_port}\nbind 127.0.0.1")
    )
    for name, content in certificates.renew({}, "auditflow-dev")["redis-tls"].items():
        (tmp_path / name).write_text(content)
    server = subprocess.Popen(("redis-server", str(file)), stdout=sys.stderr)

    def answers() -> bool:
        try:
            connect(unused_tcp_port, tmp_path).ping()
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
        return True

    try:
        eventually(answers, what="Redis")
        yield unused_tcp_port
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def unused_tcp_port() -> int:
    return ports.pick()


@pytest.fixture
def secrets() -> dict[str, dict[str, str]]:
    return plan({})


def test_redis_has_the_user_of_the_service_and_refuses_eviction(
    redis_port: int, secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    password = secrets["audit-log-analysis"]["REDIS_PASSWORD"]
    user = "audit-log-analysis"
    with connect(redis_port, tmp_path, username=user, password=password) as service:
        assert service.zadd("window", {"event": 1})
        assert service.eval("return redis.call('ZCARD', KEYS[1])", 1, "window") == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            service.flushall()
    people = secrets["redis-people"]["auditflow-admin"]
    user = "auditflow-admin"
    with connect(redis_port, tmp_path, username=user, password=people) as admin:
        assert admin.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert admin.config_get("appendonly") == {"appendonly": "yes"}


def test_the_metrics_account_of_redis_reads_no_window(
    redis_port: int, secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    user, password = "auditflow-monitor", secrets["redis-people"]["auditflow-monitor"]
    with connect(redis_port, tmp_path, username=user, password=password) as monitor:
        assert monitor.ping()
        for forbidden in (
            ("GET", "window"),
            ("SCAN", "0"),
            ("CONFIG", "GET", "*"),
            ("ACL", "LIST"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                monitor.execute_command(*forbidden)
    address = f"rediss://127.0.0.1:{redis_port}"
    file = tmp_path / "exporter.json"
    written = secrets["redis-exporter"]["exporter.json"]
    file.write_text(written.replace("rediss://127.0.0.1:6379", address))
    with exporter(
        "prometheus-redis-exporter",
        REDIS_ADDR=address,
        REDIS_USER=user,
        REDIS_PASSWORD_FILE=str(file),
        REDIS_EXPORTER_CONFIG_COMMAND="-",
        REDIS_EXPORTER_TLS_CA_CERT_FILE=str(tmp_path / "ca.crt"),
    ) as shown:
        series = shown()
        assert series["redis_up"] == 1
        assert series["redis_memory_max_bytes"] == 256 * 2**20
        assert series["redis_memory_used_bytes"] > 0
