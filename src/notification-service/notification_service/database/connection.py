"""Connections to PostgreSQL, and the reason if its schema does not belong to this version."""

from contextlib import AbstractContextManager
from typing import Final

import psycopg2

from auditflow import postgres
from auditflow.postgres import Connection
from auditflow.settings import PostgresSettings
from notification_service.database.prepared import PreparingConnection

__all__ = ["Connection", "connect", "connect_for_keys", "explain", "translated"]

_WRONG_SCHEMA: Final = (
    "the schema does not belong to this version: run notification-service-migrate"
)
#: A prepared statement keeps its plan until the statistics of its tables change. Those of a new or
#: growing table say that it is empty, so PostgreSQL would read all rows for each key. It would also
#: plan most statements at each execution, which costs more than their execution.
_PLANS_FOR_KEYS: Final = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}


def connect(settings: PostgresSettings, *, name: str, statement_seconds: float) -> Connection:
    """Open a connection that can prepare statements. See ``auditflow.postgres.connect``."""
    return postgres.connect(
        settings, name=name, statement_seconds=statement_seconds, kind=PreparingConnection
    )


def connect_for_keys(
    settings: PostgresSettings, *, name: str, statement_seconds: float
) -> Connection:
    """Open a connection for prepared statements that read and write few rows by their keys."""
    return postgres.connect(
        settings,
        name=name,
        statement_seconds=statement_seconds,
        kind=PreparingConnection,
        parameters=_PLANS_FOR_KEYS,
    )


def translated() -> AbstractContextManager[None]:
    """Translate temporary errors to ``Unavailable``. Errors that the data causes pass through."""
    return postgres.translated(wrong_schema=_WRONG_SCHEMA)


def explain(error: psycopg2.Error) -> str:
    """The reason of an error, in one line, for logs and ``/readyz``."""
    return postgres.explain(error, wrong_schema=_WRONG_SCHEMA)
