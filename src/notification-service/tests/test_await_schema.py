"""A new version waits for its schema, whatever is late."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from auditflow_local.servers.postgres import Database, Postgres
from auditflow_local.servers.postgres_roles import APP, OWNER
from notification_service.await_schema import await_schema, main
from notification_service.migrate import migrate


@pytest.fixture
def waiting(postgres: Postgres, settings_for: Callable[..., Any]) -> Any:
    """Start the wait on a database, as the role of the service, and collect its reports."""
    threads = []

    class Waiting:
        def __init__(self, database: Database) -> None:
            self.reports: list[str] = []
            self._reported = threading.Condition()
            self._thread = threading.Thread(
                target=await_schema,
                args=(settings_for(database, APP),),
                kwargs={"report": self._collect},
            )
            self._thread.start()
            threads.append(self._thread)

        def _collect(self, line: str) -> None:
            with self._reported:
                self.reports.append(line)
                self._reported.notify_all()

        def logs(self, part: str) -> bool:
            with self._reported:
                return self._reported.wait_for(
                    lambda: any(part in line for line in self.reports), timeout=60
                )

    yield Waiting
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_it_waits_for_the_migration(
    postgres: Postgres, settings_for: Callable[..., Any], waiting: Any
) -> None:
    # given a database without a schema, and a new version that waits for it
    empty = postgres.fresh_database()
    new = waiting(empty)
    assert new.logs("the schema is at nothing, and this version wants ")

    # when the job that migrates comes
    migrate(settings_for(empty, OWNER), report=lambda _: None)

    # then the new version goes on
    assert new.logs("the schema is up to date")


def test_an_older_schema_is_waited_for_and_a_newer_one_is_not(
    postgres: Postgres, settings_for: Callable[..., Any], waiting: Any
) -> None:
    # given a schema that some version made, whose rights are not given yet
    database = postgres.fresh_database()
    migrate(settings_for(database, OWNER), report=lambda _: None)
    _as_owner(database, f"REVOKE SELECT ON alembic_version FROM {APP}")
    new = waiting(database)
    assert new.logs(f"{APP} may not see the schema yet")

    # when a newer version than this one has migrated it
    _as_owner(
        database,
        "UPDATE alembic_version SET version_num = '9999'",
        f"GRANT SELECT ON alembic_version TO {APP}",
    )

    # then this one, which came back, runs on it
    assert new.logs("the schema is up to date")


def test_settings_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PG_PASSWORD", raising=False)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "PG_PASSWORD" in capsys.readouterr().err


def _as_owner(database: Database, *statements: str) -> None:
    connection = psycopg2.connect(database.dsn(OWNER))
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()
