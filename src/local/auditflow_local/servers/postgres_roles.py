"""PostgreSQL roles: the owner of the schema, the application, and the archive's own role."""

from collections.abc import Mapping
from typing import Final

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

SUPERUSER: Final = "postgres"
OWNER: Final = "auditflow_owner"
APP: Final = "auditflow_app"
ARCHIVE: Final = "auditflow_archive"
#: The roles of services, with the permission to connect.
_SERVICES: Final = (OWNER, APP, ARCHIVE)


def ensure_roles(cursor: Cursor, passwords: Mapping[str, str]) -> None:
    """Create the roles or set their passwords. Idempotent."""
    for role in _SERVICES:
        name = sql.Identifier(role)
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("CREATE ROLE {}").format(name))
        cursor.execute(
            sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
                name, sql.Literal(passwords[role])
            )
        )


def ensure_database(cursor: Cursor, database: str, *, template: str = "template1") -> None:
    """Create a database of the owner that only the three roles may connect to. Idempotent."""
    name = sql.Identifier(database)
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
    if cursor.fetchone() is None:
        cursor.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                name, sql.Identifier(OWNER), sql.Identifier(template)
            )
        )
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    for role in (APP, ARCHIVE):
        cursor.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(role))
        )


def ensure_schema(cursor: Cursor) -> None:
    """Allow only the owner to create tables. The migrations grant rights on tables.

    The archive's role owns the schema ``archive``, and creates its tables itself.
    """
    cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(sql.Identifier(APP)))
    cursor.execute(
        sql.SQL("CREATE SCHEMA IF NOT EXISTS archive AUTHORIZATION {}").format(
            sql.Identifier(ARCHIVE)
        )
    )
