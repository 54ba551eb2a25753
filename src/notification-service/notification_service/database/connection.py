"""Connections to PostgreSQL, and the reason if its schema does not belong to this version."""

from contextlib import AbstractContextManager
from typing import Final

import psycopg2

from auditflow import postgres
from auditflow.postgres import Connection
from auditflow.settings import PostgresSettings
from notification_service.database.prepared import PreparingConnection

__all__ = ["Connection", "connect", "explain", "translated"]

_WRONG_SCHEMA: Final = (
    "the schema does not belong to this version: run notification-service-migrate"
)


def connect(settings: PostgresSettings, *, name: str, statement_seconds: float) -> Connection:
    """Open a connection that can prepare statements. See ``auditflow.postgres.connect``."""
    return postgres.connect(
        settings, name=name, statement_seconds=statement_seconds, kind=PreparingConnection
    )


def translated() -> AbstractContextManager[None]:
    """Translate temporary errors to ``Unavailable``. Errors that the data causes pass through."""
    return postgres.translated(wrong_schema=_WRONG_SCHEMA)


def explain(error: psycopg2.Error) -> str:
    """The reason of an error, in one line, for logs and ``/readyz``."""
    return postgres.explain(error, wrong_schema=_WRONG_SCHEMA)
