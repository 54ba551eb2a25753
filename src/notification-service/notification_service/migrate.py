"""``notification-service-migrate``: updates the schema before a new version serves.

Repeated and simultaneous runs are safe. It runs as the owner of the schema. The service itself gets
only the rights that it needs.
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
    retry_if_result,
    stop_after_delay,
    wait_exponential_jitter,
    wait_fixed,
)

from auditflow import settings as environment
from auditflow.errors import AuditFlowError, SettingsError
from auditflow.settings import PostgresSettings
from notification_service import schema
from notification_service.database.connection import Connection, connect

#: The key of the lock of migrations. Keys of findings are halves of random identifiers.
_LOCK: Final = 4_712_001
_LOCK_POLL_SECONDS: Final = 0.2
#: Partitions are created for the previous month, this month and the next month.
_MONTHS: Final = (-1, 0, 1)
#: A migration may rewrite a table, for a limited time.
_STATEMENT_SECONDS: Final = 15 * 60.0


class MigrateSettings(PostgresSettings):
    """The database and its owner (PG_USER), and the role that the service uses."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)

    pg_app_role: Annotated[str, Field(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "auditflow_app"
    pg_wait_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0


class MigrationError(AuditFlowError):
    """The schema cannot be updated. The text states why, and what to do."""


def main() -> None:
    """The console script. It exits with 1 and an error message if it fails."""
    try:
        settings = environment.load(MigrateSettings)
        migrate(settings, report=lambda line: print(line, flush=True))  # noqa: T201 - it reports to a person
    except SettingsError as error:
        sys.stderr.write(f"notification-service-migrate: the settings are not complete:\n{error}\n")
        raise SystemExit(2) from None
    except MigrationError as error:
        sys.stderr.write(f"notification-service-migrate: {error}\n")
        raise SystemExit(1) from None


def migrate(settings: MigrateSettings, *, report: Callable[[str], None]) -> None:
    """Bring the schema up to date, make the next partitions, and grant the service its rights.

    Raises:
        MigrationError: the database stays unavailable, or refuses.
    """
    connection = _connect(settings, report)
    try:
        _require(connection, settings)
        _lock(connection, report)
        _upgrade(connection, report)
        _make_partitions(connection, report)
        _grant(connection, settings.pg_app_role, report)
    except (psycopg2.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        raise MigrationError(f"the database refused: {str(error).strip()}") from error
    finally:
        connection.close()  # this also releases the lock


def _connect(settings: MigrateSettings, report: Callable[[str], None]) -> Connection:
    """Connect, and wait for a database that is not available yet."""
    where = f"{settings.pg_host}:{settings.pg_port}/{settings.pg_db}"

    def report_wait(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            report(f"waiting for PostgreSQL at {where}")

    attempts = Retrying(
        retry=retry_if_exception(_is_temporary),
        wait=wait_exponential_jitter(multiplier=0.2, max=3, jitter=0.3),
        stop=stop_after_delay(settings.pg_wait_seconds),
        before_sleep=report_wait,
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


def _is_temporary(error: BaseException) -> bool:
    # libpq gives no code for errors while connecting, only the server's text. Even a wrong password
    # may be temporary: the job that sets it may still run.
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
            f"the database {settings.pg_db} is encoded in {encoding}, which cannot store all texts:"
            " create it with ENCODING 'UTF8'"
        )
    if not has_role:
        raise MigrationError(
            f"the role {settings.pg_app_role} of the service does not exist:"
            " create it, or set PG_APP_ROLE to another role"
        )


def _lock(connection: Connection, report: Callable[[str], None]) -> None:
    """Wait until no other migration runs.

    It tries again instead of waiting in a statement: the other migration may build an index
    concurrently, which waits for the end of all statements that run.
    """

    def report_wait(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            report("waiting for another migration")

    Retrying(
        retry=retry_if_result(lambda locked: not locked),
        wait=wait_fixed(_LOCK_POLL_SECONDS),
        before_sleep=report_wait,
    )(_try_lock, connection)


def _try_lock(connection: Connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
        (locked,) = cursor.fetchone() or (False,)
    connection.commit()
    return bool(locked)


def _upgrade(connection: Connection, report: Callable[[str], None]) -> None:
    with schema.migrations() as known:
        before = schema.revision(connection)
        if before is not None and not known.known(before):
            # A newer version ran and was rolled back. Its schema also serves this version.
            report(f"the schema is newer than this version, at {before}: it is left as it is")
            return
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg2://", creator=lambda: connection, poolclass=sqlalchemy.StaticPool
        )
        with engine.connect() as bound:
            known.config.attributes["connection"] = bound
            alembic.command.upgrade(known.config, "head")
            bound.commit()
        applied = list(known.scripts.iterate_revisions("head", before or "base"))
    for step in reversed(applied):
        report(f"migrated to {step.revision}: {step.doc}")
    if not applied:
        report(f"the schema is up to date, at {before}")


def _make_partitions(connection: Connection, report: Callable[[str], None]) -> None:
    today = dt.datetime.now(dt.UTC).date()
    months = [_month(today, offset) for offset in _MONTHS]
    with connection.cursor() as cursor:
        for month in months:
            cursor.execute("SELECT findings_ensure_month(%s)", (month,))
    connection.commit()
    report(f"partitions are there for {', '.join(f'{month:%Y-%m}' for month in months)}")


def _month(day: dt.date, offset: int) -> dt.date:
    months = day.year * 12 + day.month - 1 + offset
    return dt.date(months // 12, months % 12 + 1, 1)


def _grant(connection: Connection, role: str, report: Callable[[str], None]) -> None:
    # No rights on the partitions: they are used through the table. Default privileges on them are
    # revoked.
    statements = (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {role}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON findings, alerts TO {role}",
        "GRANT SELECT, INSERT ON alert_observables, alert_history TO {role}",
        "GRANT SELECT, USAGE ON SEQUENCE alert_changes TO {role}",
        "GRANT SELECT, INSERT, DELETE ON alert_counts, alert_days TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON entity_risk TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON alert_texts TO {role}",
        "GRANT SELECT, UPDATE ON maintenance_progress TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON users, api_tokens TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON alert_outbox, notification_groups,"
        " notification_group_alerts, notifications, notification_alerts TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON silences TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON saved_views, second_factors TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON merkle_tiles TO {role}",
        "GRANT SELECT, INSERT ON merkle_checkpoints, audit_trail TO {role}",
        "GRANT SELECT, INSERT ON finding_log_outbox TO {role}",
        "GRANT SELECT ON finding_log TO {role}",
        "GRANT SELECT ON alembic_version TO {role}",
        "GRANT EXECUTE ON FUNCTION findings_ensure_month(date),"
        " retention_drop_findings(timestamptz, integer),"
        " retention_delete_alerts(timestamptz, integer), finding_log_append(integer) TO {role}",
    )
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(sql.SQL(statement).format(role=sql.Identifier(role)))
    connection.commit()
    report(f"{role} may read, add and change findings and alerts, and append to the history")


if __name__ == "__main__":
    main()
