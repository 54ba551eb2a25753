"""``notification-service-await-schema``: waits until the database has the schema of this version.

The pod of a new version waits here while the old version serves. It waits for the database, for its
roles and for the Job that migrates.
"""

import sys
from collections.abc import Callable

import psycopg2
from psycopg2 import errors
from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential_jitter

from auditflow import settings as environment
from auditflow.errors import SettingsError
from auditflow.settings import PostgresSettings
from notification_service import schema
from notification_service.database.connection import connect

_STATEMENT_SECONDS = 5.0


def main() -> None:
    """The console script. It exits with 0 when the schema exists. It waits without a limit."""
    try:
        settings = environment.load(PostgresSettings)
    except SettingsError as error:
        sys.stderr.write(
            f"notification-service-await-schema: the settings are not complete:\n{error}\n"
        )
        raise SystemExit(2) from None
    await_schema(settings, report=lambda line: print(line, flush=True))  # noqa: T201 - it reports to a person


def await_schema(settings: PostgresSettings, *, report: Callable[[str], None]) -> None:
    """Return when this version may run on the database's schema. Report what is missing."""
    reported: list[str] = []

    def report_missing(state: RetryCallState) -> None:
        missing = state.outcome.result() if state.outcome else None
        if missing and reported[-1:] != [missing]:
            reported.append(missing)
            report(f"waiting: {missing}")

    with schema.migrations() as known:
        Retrying(
            retry=retry_if_result(lambda missing: missing is not None),
            wait=wait_exponential_jitter(multiplier=0.2, max=3, jitter=0.3),
            before_sleep=report_missing,
        )(_missing, settings, known)
    report("the schema is up to date")


def _missing(settings: PostgresSettings, known: schema.Migrations) -> str | None:
    """Why this version cannot run, in one sentence, or None if it can."""
    where = f"{settings.pg_host}:{settings.pg_port}/{settings.pg_db}"
    try:
        connection = connect(
            settings, name="notification-service-await-schema", statement_seconds=_STATEMENT_SECONDS
        )
    except psycopg2.OperationalError as error:
        return f"cannot connect to PostgreSQL at {where}: {str(error).strip()}"
    try:
        revision = schema.revision(connection)
    except errors.InsufficientPrivilege:
        return (
            f"{settings.pg_user} may not see the schema yet:"
            " notification-service-migrate has not finished"
        )
    except psycopg2.Error as error:
        return f"PostgreSQL at {where} refused: {str(error).strip()}"
    finally:
        connection.close()
    if known.serves(revision):
        return None
    wanted = known.scripts.get_current_head()
    return f"the schema is at {revision or 'nothing'}, and this version wants {wanted}"


if __name__ == "__main__":
    main()
