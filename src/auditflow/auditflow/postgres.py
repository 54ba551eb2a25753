"""Connections to PostgreSQL, and the classification of its errors. Needs psycopg2."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

import psycopg2
import psycopg2.extensions
from psycopg2 import errors

from auditflow.errors import TooSlow, Unavailable
from auditflow.settings import PostgresSettings

Connection: TypeAlias = psycopg2.extensions.connection

#: Time-out of a connection attempt.
CONNECT_SECONDS: Final = 1
#: Time after which a peer that does not acknowledge our bytes counts as disconnected.
SILENCE_MS: Final = 5_000

#: Errors that the data causes: the same input fails again. All others are temporary: the server is
#: unavailable or starting, a lock or a statement takes too long, the schema does not exist yet, the
#: disk is full, the server is read-only.
_DATA_ERRORS: Final = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
)


def connect(
    settings: PostgresSettings,
    *,
    name: str,
    statement_seconds: float,
    schema: str = "public",
    kind: type[Connection] = Connection,
    parameters: Mapping[str, str] | None = None,
) -> Connection:
    """Open a connection in UTC and UTF-8. Its statements time out after ``statement_seconds``.

    ``parameters`` are further settings of the server for this connection.
    """
    options = {
        "timezone": "UTC",
        "statement_timeout": f"{statement_seconds * 1000:.0f}ms",
        "idle_in_transaction_session_timeout": "60s",
        "search_path": schema,
        **(parameters or {}),
    }
    connection: Connection = psycopg2.connect(
        host=settings.pg_host,
        port=settings.pg_port,
        dbname=settings.pg_db,
        user=settings.pg_user,
        password=settings.pg_password.get_secret_value(),
        application_name=name,
        client_encoding="UTF8",
        connect_timeout=CONNECT_SECONDS,
        connection_factory=kind,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=SILENCE_MS,
        **settings.pg_tls_options(),
        options=" ".join(f"-c {key}={value}" for key, value in options.items()),
    )
    return connection


@contextmanager
def translated(*, wrong_schema: str | None = None) -> Iterator[None]:
    """Translate temporary errors to ``Unavailable``. Errors that the data causes pass through.

    ``wrong_schema`` is the reason if a table, a column or a function is missing.
    """
    try:
        yield
    except _DATA_ERRORS:
        raise
    except errors.QueryCanceled as error:
        raise TooSlow("postgresql", explain(error, wrong_schema=wrong_schema)) from error
    except psycopg2.Error as error:
        raise Unavailable("postgresql", explain(error, wrong_schema=wrong_schema)) from error


def explain(error: psycopg2.Error, *, wrong_schema: str | None = None) -> str:
    """The reason of an error, in one line, for logs and ``/readyz``."""
    undefined = (errors.UndefinedTable, errors.UndefinedFunction, errors.UndefinedColumn)
    if wrong_schema and isinstance(error, undefined):
        return wrong_schema
    return str(error).strip().partition("\n")[0] or type(error).__name__
