"""A database that is killed, read-only, full or slow: findings wait, reads continue, all is exact."""

import datetime as dt
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from auditflow_local.polling import eventually
from auditflow_local.servers.postgres import Database, Postgres
from auditflow_local.servers.postgres_roles import SUPERUSER

PERSON = {"X-AuditFlow-User": "alice"}


def _total(api: httpx.Client) -> int:
    answer = api.get("/api/v1/alerts/total")
    return int(answer.json()["total"]) if answer.status_code == 200 else -1


def _acknowledge(api: httpx.Client, alert_id: str) -> httpx.Response:
    headers = {**PERSON, "If-Match": "*"}
    return api.post(f"/api/v1/alerts/{alert_id}/acknowledge", json={}, headers=headers)


def _is_unavailable(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and answer.headers["Retry-After"].isdigit()


@contextmanager
def _superuser(database: Database) -> Iterator[Any]:
    dsn = database.dsn(SUPERUSER)
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            yield cursor


@pytest.fixture
def first(broker: Any, api: httpx.Client, make_finding: Any) -> str:
    """The identifier of an alert that was stored before. The person is known, too."""
    broker.send(make_finding(user="before"))
    eventually(lambda: _total(api) == 1)
    answer = api.get("/api/v1/alerts", headers=PERSON)
    return str(answer.json()["alerts"][0]["alert_id"])


@pytest.fixture
def check_complete(broker: Any, api: httpx.Client, query: Any) -> Callable[[int], None]:
    """Checks that each of the findings is stored once, and that the alert can be changed."""

    def check(findings: int) -> None:
        eventually(lambda: _total(api) == findings, seconds=60)
        assert query("SELECT count(*), count(DISTINCT finding_id) FROM findings") == [
            (findings, findings)
        ]
        assert query("SELECT sum(finding_count) FROM alerts") == [(findings,)]
        assert broker.dead_letters() == []
        assert broker.waiting() == 0

    return check


def test_killed(
    broker: Any, api: httpx.Client, postgres: Postgres, first: str, make_finding: Any,
    check_complete: Any,
) -> None:  # fmt: skip
    postgres.kill()
    try:
        broker.send(*(make_finding(user=f"user-{n}", bucket=n) for n in range(200)))
        action, read = _acknowledge(api, first), api.get("/api/v1/alerts")
    finally:
        postgres.start()

    assert _is_unavailable(action)
    assert _is_unavailable(read)
    check_complete(201)
    eventually(lambda: _acknowledge(api, first).status_code == 200)


def test_read_only(
    broker: Any, api: httpx.Client, database: Database, first: str, make_finding: Any,
    check_complete: Any,
) -> None:  # fmt: skip
    body = {"name": "SIEM", "scopes": ["alerts:read"]}
    token = api.post("/api/v1/tokens", json=body).json()["secret"]
    with _superuser(database) as cursor:
        cursor.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        cursor.execute("SELECT pg_reload_conf()")
    try:
        eventually(lambda: _is_unavailable(_acknowledge(api, first)))
        broker.send(*(make_finding(user=f"user-{n}", bucket=n) for n in range(50)))
        reads = [
            api.get("/api/v1/alerts", headers=headers)
            for headers in (
                PERSON,
                {"X-AuditFlow-User": "a%20person%20that%20is%20new"},
                {"Authorization": f"Bearer {token}"},
            )
        ]
        detail = api.get(f"/api/v1/alerts/{first}", headers=PERSON)
    finally:
        with _superuser(database) as cursor:
            cursor.execute("ALTER SYSTEM RESET default_transaction_read_only")
            cursor.execute("SELECT pg_reload_conf()")

    assert [answer.status_code for answer in (*reads, detail)] == [200] * 4
    assert all(len(answer.json()["alerts"]) == 1 for answer in reads)
    check_complete(51)
    eventually(lambda: _acknowledge(api, first).status_code == 200)


def test_slow(
    broker: Any, api: httpx.Client, database: Database, first: str, make_finding: Any,
    check_complete: Any, query: Any,
) -> None:  # fmt: skip
    with closing(psycopg2.connect(database.dsn(SUPERUSER))) as connection:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE alerts IN SHARE ROW EXCLUSIVE MODE")  # writes wait
        broker.send(*(make_finding(user=f"user-{n}", bucket=n) for n in range(50)))
        action = _acknowledge(api, first)
        read = api.get("/api/v1/alerts", headers=PERSON)
        connection.rollback()

    assert _is_unavailable(action)
    assert (read.status_code, len(read.json()["alerts"])) == (200, 1)
    check_complete(51)
    # the action that was answered with 503 may have been completed, but once at most
    eventually(lambda: _acknowledge(api, first).status_code in (200, 409))
    assert query("SELECT count(*) FROM alert_history") == [(1,)]


def _move_tables(cursor: Any, source: str, target: str) -> None:
    """Move all tables and indexes. Queries of the service hold locks at the same time."""
    for kind in ("TABLE", "INDEX"):
        statement = f"ALTER {kind} ALL IN TABLESPACE {source} SET TABLESPACE {target}"

        def moved(statement: str = statement) -> bool:
            try:
                cursor.execute(statement)
            except psycopg2.errors.DeadlockDetected:
                return False
            return True

        eventually(moved, what=statement)


@contextmanager
def _small_disk(database: Database) -> Iterator[Path]:
    """Move the tables of the database to a file system of 24 MiB, mounted at the given folder."""
    folder = Path(tempfile.mkdtemp(prefix="auditflow-small-disk-"))
    with _superuser(database) as cursor:
        cursor.execute("SHOW data_directory")
        owner = Path(cursor.fetchone()[0]).stat().st_uid
    options = f"size=24m,mode=0700,uid={owner}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("this user may not mount a file system")
        try:
            with _superuser(database) as cursor:
                cursor.execute("CREATE TABLESPACE small LOCATION %s", (str(folder),))
                cursor.execute(f"ALTER DATABASE {database.name} SET default_tablespace = small")
                _move_tables(cursor, "pg_default", "small")
            yield folder
        finally:
            with _superuser(database) as cursor:
                cursor.execute(f"ALTER DATABASE {database.name} RESET default_tablespace")
                _move_tables(cursor, "small", "pg_default")
                cursor.execute("DROP TABLESPACE small")
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        with suppress(OSError):  # still mounted: the error that stopped the move is reported
            folder.rmdir()


@contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """Fill the file system with a file."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)) == 4096:
            pass
    try:
        assert shutil.disk_usage(folder).free == 0
        yield
    finally:
        filler.unlink()


def test_full(
    broker: Any, api: httpx.Client, database: Database, first: str, make_finding: Any,
    check_complete: Any,
) -> None:  # fmt: skip
    # Given a database on a full disk
    findings = [
        make_finding(user=f"user-{n}", bucket=n, description=secrets.token_hex(2000))
        for n in range(200)
    ]
    with _small_disk(database) as folder:
        with _filled(folder):
            # When findings arrive and people act
            broker.send(*findings)

            headers = {**PERSON, "If-Match": "*"}

            def comment() -> bool:
                path, text = f"/api/v1/alerts/{first}/comment", secrets.token_hex(4000)
                return _is_unavailable(api.post(path, json={"comment": text}, headers=headers))

            # Then writes are refused, reads continue, and findings wait in the broker
            eventually(comment)
            read = api.get("/api/v1/alerts", headers=PERSON)
            assert (read.status_code, len(read.json()["alerts"])) == (200, 1)
            assert _total(api) == 1
        # And nothing is lost when there is space again
        check_complete(201)
        eventually(lambda: not comment())


def test_only_dead_notifications_are_retried_and_silences_have_states(
    api: httpx.Client, query: Any
) -> None:
    for identifier, status in ((1, "dead"), (2, "sent")):
        query(
            "INSERT INTO notifications (notification_id, receiver, kind, content, alert_count,"
            " created_at, next_attempt_at, status)"
            " VALUES (lpad(%s, 32, '0')::uuid, 'chat', 'test', '{}', 0, now(), now(), %s)",
            str(identifier), status,
        )  # fmt: skip
    answers = [
        api.post(f"/api/v1/notifications/00000000-0000-0000-0000-00000000000{n}/retry").status_code
        for n in (1, 2, 3)
    ]
    assert answers == [200, 409, 404]

    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    for reason, start, end in (
        ("active", now - day, now + 2 * day),
        ("pending", now + day, now + 2 * day),
        ("ended", now - day, now + 2 * day),
    ):
        starts, ends = start.isoformat(), end.isoformat()
        body = {"matchers": ['rule="x"'], "reason": reason, "starts_at": starts, "ends_at": ends}
        created = api.post("/api/v1/silences", json=body)
        assert created.status_code == 200, created.text
        if reason == "ended":
            api.delete(f"/api/v1/silences/{created.json()['silence_id']}").raise_for_status()
    for state in ("active", "pending", "ended"):
        listed = api.get("/api/v1/silences", params={"state": state, "limit": 1}).json()
        assert [it["reason"] for it in listed["silences"]] == [state]
    assert api.get("/api/v1/silences", params={"state": "x"}).status_code == 400
    assert len(api.get("/api/v1/silences").json()["silences"]) == 3
