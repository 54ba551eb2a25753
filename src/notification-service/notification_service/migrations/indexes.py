"""Indexes that are built while other transactions write to the table.

A plain ``CREATE INDEX`` blocks all writes until it ends, which takes minutes on a large table. The
functions below run outside a transaction. They may be repeated after an interruption.
"""

from typing import Final

import sqlalchemy
from alembic import op

_STATE: Final = sqlalchemy.text("""
    SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indexrelid = to_regclass('public.' || :name)
""")
_SUFFIX: Final = "_new"


def create(name: str, definition: str, *, on: str) -> None:
    """Create an index concurrently, unless it exists.

    ``definition`` follows the name of the table: the columns, and optional clauses. PostgreSQL
    marks an index as invalid if its build was interrupted. It is built again.
    """
    with op.get_context().autocommit_block():
        _create(name, definition, on=on)


def replace(name: str, definition: str, *, on: str, contains: str) -> None:
    """Replace an index concurrently. The table always has one of the two.

    ``contains`` is a part of the new index's definition that the old index's does not have.
    """
    with op.get_context().autocommit_block():
        state = _state(name)
        if state is not None and state[0] and contains in state[1]:
            return
        new = name + _SUFFIX
        _create(new, definition, on=on)
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"ALTER INDEX {new} RENAME TO {name}")


def _create(name: str, definition: str, *, on: str) -> None:
    # A build waits for all transactions that may still write to the table, and reads the table
    # twice. No request waits for it, so it has no time limit.
    op.execute("SET statement_timeout = 0")
    state = _state(name)
    if state is not None and not state[0]:
        op.execute(f"DROP INDEX CONCURRENTLY {name}")
        state = None
    if state is None:
        op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {on} {definition}")
    op.execute("RESET statement_timeout")


def _state(name: str) -> tuple[bool, str] | None:
    """Whether the index is valid, and its definition. None if it does not exist."""
    row = op.get_bind().execute(_STATE, {"name": name}).one_or_none()
    return None if row is None else (row[0], row[1])
