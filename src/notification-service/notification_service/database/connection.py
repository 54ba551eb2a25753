"""Connecting, and what PostgreSQL's errors mean to us."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

import psycopg2
import psycopg2.extensions
from psycopg2 import errors

from auditflow.errors import Unavailable
from auditflow.settings import PostgresSettings

Connection: TypeAlias = psycopg2.extensions.connection

#: A server that does not take a connection in this time is not there.
CONNECT_SECONDS: Final = 1
#: A peer that leaves our bytes unacknowledged this long is gone.
SILENCE_MS: Final = 5_000

#: Errors that the data brought about: the same input fails again. All others (the server away or
#: starting, a lock or a statement that took too long, a schema that is not there yet, a disk that
#: is full) end some day, with the same input.
_FAULT_OF_THE_DATA: Final = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
)


def connect(settings: PostgresSettings, *, name: str, statement_seconds: float) -> Connection:
    """A new connection, in UTC and UTF-8, whose statements end after ``statement_seconds``."""
    options = {
        "timezone": "UTC",
        "statement_timeout": f"{statement_seconds * 1000:.0f}ms",
        "idle_in_transaction_session_timeout": "60s",
        "search_path": "public",
    }
    return psycopg2.connect(
        host=settings.pg_host,
        port=settings.pg_port,
        dbname=settings.pg_db,
        user=settings.pg_user,
        password=settings.pg_password.get_secret_value(),
        application_name=name,
        client_encoding="UTF8",
        connect_timeout=CONNECT_SECONDS,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=SILENCE_MS,
        options=" ".join(f"-c {key}={value}" for key, value in options.items()),
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors that pass with time into ``Unavailable``, and leave those of the data."""
    try:
        yield
    except _FAULT_OF_THE_DATA:
        raise
    except psycopg2.Error as error:
        raise Unavailable("postgresql", explain(error)) from error


def explain(error: psycopg2.Error) -> str:
    """What happened, in one line, for logs and ``/readyz``."""
    if isinstance(error, errors.UndefinedTable | errors.UndefinedFunction | errors.UndefinedColumn):
        return "the schema is not the one of this version: run notification-service-migrate"
    return str(error).strip().partition("\n")[0] or type(error).__name__
