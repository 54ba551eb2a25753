"""Who may do what in PostgreSQL: one role that owns and migrates, one that only works with rows."""

from collections.abc import Mapping
from typing import Final

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

SUPERUSER: Final = "postgres"
OWNER: Final = "auditflow_owner"
APP: Final = "auditflow_app"


def ensure_roles(on: Cursor, passwords: Mapping[str, str]) -> None:
    """Make the two roles, or set their passwords; any number of times."""
    for role in (OWNER, APP):
        name = sql.Identifier(role)
        on.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
        if on.fetchone() is None:
            on.execute(sql.SQL("CREATE ROLE {}").format(name))
        on.execute(
            sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
                name, sql.Literal(passwords[role])
            )
        )


def ensure_database(on: Cursor, database: str, *, template: str = "template1") -> None:
    """Make a database that the owner owns and that only our two roles may enter."""
    name = sql.Identifier(database)
    on.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
    if on.fetchone() is None:
        on.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                name, sql.Identifier(OWNER), sql.Identifier(template)
            )
        )
    on.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    on.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(APP)))


def ensure_schema(on: Cursor) -> None:
    """In one database: only the owner makes tables; what the service may do with them, the
    migrations say."""
    on.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    on.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(sql.Identifier(APP)))
