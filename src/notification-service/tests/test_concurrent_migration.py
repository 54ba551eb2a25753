"""Indexes are built while other transactions write, and again after an interruption."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib import resources
from typing import Any

import alembic.command
import psycopg2
import pytest
import sqlalchemy

from auditflow_local.servers.postgres import Database, Postgres
from auditflow_local.servers.postgres_roles import OWNER, SUPERUSER
from notification_service import schema
from notification_service.migrate import MigrationError, migrate

#: The first migration that builds its indexes concurrently. Earlier ones created their tables.
FIRST = "v0016"
INSERT = """
    INSERT INTO alerts (alert_id, fingerprint, sequence, status, rule_id, rule_title,
        rule_revision, rule_level, rule_tags, severity, entity, title, description, environment,
        count, finding_count, first_seen, last_seen, newest_finding_id, approximate, opened_at,
        updated_at, version)
    SELECT gen_random_uuid(), gen_random_uuid(), 1, 'open', 'r', 'Rule', '1', 'high', '{}',
        'WARNING', '{}', 'Rule', 'Text ' || n, 'prod', 3, 1, now(), now(), gen_random_uuid(),
        false, now(), now(), 1
    FROM generate_series(1, 100) AS n
"""
UPDATE = "UPDATE alerts SET count = count + 1, last_seen = now()"


@pytest.fixture
def old_database(postgres: Postgres) -> Database:
    """A database before the first of these migrations, with alerts."""
    database = postgres.fresh_database()
    with closing(psycopg2.connect(database.dsn(OWNER))) as connection:
        _upgrade(connection, "0015")
        with connection, connection.cursor() as cursor:
            cursor.execute(INSERT)
    return database


def _upgrade(connection: Any, revision: str) -> None:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=lambda: connection, poolclass=sqlalchemy.StaticPool
    )
    with schema.migrations() as known, engine.connect() as bound:
        known.config.attributes["connection"] = bound
        alembic.command.upgrade(known.config, revision)
        bound.commit()


@contextmanager
def _migrating(settings: Any) -> Iterator[tuple[threading.Thread, list[Exception]]]:
    """Run the migration in a thread. Errors are added to the list."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            migrate(settings, report=lambda _: None)
        except MigrationError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread, failures
    finally:
        thread.join(60)


def _read(database: Database, statement: str, *, role: str = OWNER) -> list[tuple[Any, ...]]:
    with (
        closing(psycopg2.connect(database.dsn(role))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        return list(cursor.fetchall())


def _definitions(database: Database) -> dict[str, tuple[bool, str]]:
    """Whether each index of alerts is valid, and its definition."""
    rows = _read(
        database,
        "SELECT indexrelid::regclass::text, indisvalid, pg_get_indexdef(indexrelid)"
        " FROM pg_index WHERE indrelid = 'alerts'::regclass",
    )
    return {name: (valid, text) for name, valid, text in rows}


def _builders(database: Database) -> list[tuple[int]]:
    """The process that builds an index and waits for other transactions."""
    return _read(
        database,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE 'CREATE INDEX%' AND wait_event_type = 'Lock'",
        role=SUPERUSER,
    )


def test_transactions_write_while_an_index_is_built(
    old_database: Database, settings_for: Callable[..., Any], eventually: Any
) -> None:
    # Given a transaction that wrote and does not end, for which the build of an index waits
    with (
        closing(psycopg2.connect(old_database.dsn(OWNER))) as writing,
        closing(psycopg2.connect(old_database.dsn(OWNER))) as others,
    ):
        with writing.cursor() as cursor:
            cursor.execute(INSERT)
        with _migrating(settings_for(old_database, OWNER)) as (migration, failures):
            eventually(lambda: _builders(old_database))

            # When other transactions write
            for statement in (INSERT, UPDATE):
                with others, others.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '5s'")
                    cursor.execute(statement)

            # Then they do not wait, and the migration ends after the first transaction
            assert migration.is_alive()
            writing.commit()
        assert failures == []
    assert all(valid for valid, _ in _definitions(old_database).values())


def test_an_interrupted_migration_is_continued(
    old_database: Database, database: Database, settings_for: Callable[..., Any], eventually: Any
) -> None:
    # Given a migration whose connection is ended while it builds an index
    settings = settings_for(old_database, OWNER)
    with closing(psycopg2.connect(old_database.dsn(OWNER))) as writing:
        with writing.cursor() as cursor:
            cursor.execute(INSERT)
        with _migrating(settings) as (_, failures):
            ((builder,),) = eventually(lambda: _builders(old_database))
            _read(old_database, f"SELECT pg_terminate_backend({builder})", role=SUPERUSER)
        assert len(failures) == 1
    assert not all(valid for valid, _ in _definitions(old_database).values())

    # When it runs again
    migrate(settings, report=lambda _: None)

    # Then all indexes are valid, and are those of a new database
    assert _definitions(old_database) == _definitions(database)
    assert all(valid for valid, _ in _definitions(old_database).values())


def test_a_migration_that_stopped_between_two_indexes_is_continued(
    old_database: Database, database: Database, settings_for: Callable[..., Any]
) -> None:
    # Given an index of the migration, and one that replaces another one but is not renamed
    built = _definitions(database)
    with closing(psycopg2.connect(old_database.dsn(OWNER))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(built["alerts_snoozed"][1])
            cursor.execute(
                built["alerts_by_activity"][1].replace(
                    "alerts_by_activity", "alerts_by_activity_new"
                )
            )
            cursor.execute("DROP INDEX alerts_by_activity")

    # When it runs again
    migrate(settings_for(old_database, OWNER), report=lambda _: None)

    # Then the indexes are those of a new database
    assert _definitions(old_database) == built


def test_a_second_migration_waits_for_one_that_builds_an_index(
    old_database: Database, settings_for: Callable[..., Any], eventually: Any
) -> None:
    # Given a migration that builds an index, which waits for all statements that run
    settings = settings_for(old_database, OWNER)
    reports: list[str] = []
    with closing(psycopg2.connect(old_database.dsn(OWNER))) as writing:
        with writing.cursor() as cursor:
            cursor.execute(INSERT)
        with _migrating(settings) as (_, failures):
            eventually(lambda: _builders(old_database))

            # When a second one starts, and the transaction ends
            second = threading.Thread(
                target=migrate, args=(settings,), kwargs={"report": reports.append}
            )
            second.start()
            eventually(lambda: reports)
            writing.commit()
            second.join(60)

    # Then the second one waited, and both are complete
    assert failures == []
    assert reports[0] == "waiting for another migration"
    assert reports[1].startswith("the schema is up to date")


def test_no_migration_builds_an_index_of_an_existing_table_in_a_transaction() -> None:
    versions = resources.files("notification_service.migrations") / "versions"
    blocking = []
    for file in versions.iterdir():
        if not file.name.startswith("v") or file.name < FIRST:
            continue
        text = file.read_text()
        created = set(re.findall(r"CREATE TABLE (\w+)", text))
        indexed = re.findall(r"CREATE (?:UNIQUE )?INDEX \w+\s+ON (\w+)", text)
        blocking += [(file.name, table) for table in indexed if table not in created]

    assert blocking == [], "use notification_service.migrations.indexes"
