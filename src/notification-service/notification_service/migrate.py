"""``notification-service-migrate``: brings the schema up to date. Run before a new version serves.

It may run any number of times, and twice at once. It runs as the owner of the schema; the service
itself gets only what it needs.
"""

import datetime as dt
import sys
from collections.abc import Callable
from typing import Annotated, Final

import alembic.command
import psycopg2
import sqlalchemy
from psycopg2 import sql
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_exponential_jitter,
)

from auditflow import settings as environment
from auditflow.errors import AuditFlowError, SettingsError
from auditflow.settings import PostgresSettings
from notification_service import schema
from notification_service.database.connection import Connection, connect

#: A key that no fold uses: those are halves of identifiers.
_LOCK: Final = 4_712_001
#: Partitions are made for the month before, this month and the next.
_MONTHS: Final = (-1, 0, 1)
#: A migration may rewrite a table, but not for ever.
_STATEMENT_SECONDS: Final = 15 * 60.0


class MigrateSettings(PostgresSettings):
    """The database and its owner (PG_USER), and the role that the service uses."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)

    pg_app_role: Annotated[str, Field(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "auditflow_app"
    pg_wait_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0


class MigrationError(AuditFlowError):
    """The schema cannot be brought up to date. The text says why, and what to do."""


def main() -> None:
    """The console script. Ends with 1 and a sentence when it cannot do its work."""
    try:
        settings = environment.load(MigrateSettings)
        migrate(settings, say=lambda line: print(line, flush=True))  # noqa: T201 - it reports to a person
    except SettingsError as error:
        sys.stderr.write(f"notification-service-migrate: the settings are not complete:\n{error}\n")
        raise SystemExit(2) from None
    except MigrationError as error:
        sys.stderr.write(f"notification-service-migrate: {error}\n")
        raise SystemExit(1) from None


def migrate(settings: MigrateSettings, *, say: Callable[[str], None]) -> None:
    """Bring the schema up to date, make the next partitions, and grant the service its rights.

    Raises:
        MigrationError: the database stays away, or does not allow it.
    """
    connection = _connect(settings, say)
    try:
        _require(connection, settings)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.commit()
        _upgrade(connection, say)
        _make_partitions(connection, say)
        _grant(connection, settings.pg_app_role, say)
    except (psycopg2.Error, sqlalchemy.exc.DBAPIError) as error:
        raise MigrationError(f"the database refused: {str(error).strip()}") from error
    finally:
        connection.close()  # and with it goes the lock


def _connect(settings: MigrateSettings, say: Callable[[str], None]) -> Connection:
    """Connect, and wait for a database that is not up yet."""
    where = f"{settings.pg_host}:{settings.pg_port}/{settings.pg_db}"

    def tell(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            say(f"waiting for PostgreSQL at {where}")

    attempts = Retrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_exponential_jitter(multiplier=0.2, max=3, jitter=0.3),
        stop=stop_after_delay(settings.pg_wait_seconds),
        before_sleep=tell,
        reraise=True,
    )
    name = "notification-service-migrate"
    try:
        connection: Connection = attempts(
            connect, settings, name=name, statement_seconds=_STATEMENT_SECONDS
        )
    except psycopg2.OperationalError as error:
        why = str(error).strip()
        raise MigrationError(f"cannot connect to PostgreSQL at {where}: {why}") from None
    return connection


def _may_pass(error: BaseException) -> bool:
    # libpq gives no code for errors while connecting, only the server's text. Even a wrong password
    # is worth a wait: the job that sets it may run at this moment.
    return isinstance(error, psycopg2.OperationalError)


def _require(connection: Connection, settings: MigrateSettings) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_encoding'),"
            " EXISTS (SELECT FROM pg_roles WHERE rolname = %s)",
            (settings.pg_app_role,),
        )
        encoding, has_role = cursor.fetchone() or ("", False)
    connection.commit()
    if encoding != "UTF8":
        raise MigrationError(
            f"the database {settings.pg_db} is encoded in {encoding}, which cannot hold all texts:"
            " create it with ENCODING 'UTF8'"
        )
    if not has_role:
        raise MigrationError(
            f"there is no role {settings.pg_app_role}, which the service shall use:"
            " create it, or name another in PG_APP_ROLE"
        )


def _upgrade(connection: Connection, say: Callable[[str], None]) -> None:
    with schema.migrations() as steps:
        before = schema.revision(connection)
        if before is not None and not steps.known(before):
            # A newer version was here, and this one came back; going back is not ours to do.
            say(f"the schema is newer than this version, at {before}: it is left as it is")
            return
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg2://", creator=lambda: connection, poolclass=sqlalchemy.StaticPool
        )
        with engine.connect() as bound:
            steps.config.attributes["connection"] = bound
            alembic.command.upgrade(steps.config, "head")
            bound.commit()
        done = list(steps.scripts.iterate_revisions("head", before or "base"))
    for step in reversed(done):
        say(f"migrated to {step.revision}: {step.doc}")
    if not done:
        say(f"the schema is up to date, at {before}")


def _make_partitions(connection: Connection, say: Callable[[str], None]) -> None:
    today = dt.datetime.now(dt.UTC).date()
    months = [_month(today, away) for away in _MONTHS]
    with connection.cursor() as cursor:
        for month in months:
            cursor.execute("SELECT findings_ensure_month(%s)", (month,))
    connection.commit()
    say(f"partitions are there for {', '.join(f'{month:%Y-%m}' for month in months)}")


def _month(day: dt.date, away: int) -> dt.date:
    months = day.year * 12 + day.month - 1 + away
    return dt.date(months // 12, months % 12 + 1, 1)


def _grant(connection: Connection, role: str, say: Callable[[str], None]) -> None:
    # Nothing on the partitions: whoever may use the table reaches them through it. So what a
    # generous default would give on them is taken away.
    statements = (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {role}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON findings, alerts TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON alert_outbox, notification_groups,"
        " notification_group_alerts, notifications, notification_alerts TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON silences TO {role}",
        "GRANT SELECT ON alembic_version TO {role}",
        "GRANT EXECUTE ON FUNCTION findings_ensure_month(date) TO {role}",
    )
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(sql.SQL(statement).format(role=sql.Identifier(role)))
    connection.commit()
    say(f"{role} may read, add and change findings and alerts, and nothing else")


if __name__ == "__main__":
    main()
