"""Prepared statements: PostgreSQL plans a statement once for each connection.

Planning costs more than execution for the short statements of the API and of the finding store: a
partitioned table has many partitions, and a list has a branch for each status.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import psycopg2.extensions
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

#: Maximum number of prepared statements of a connection. The least recently used is removed.
MAX_STATEMENTS: Final = 50

#: A parameter, and the type that it is cast to.
_PARAMETER: Final = re.compile(r"%\((\w+)\)s((?:::\w+(?:\[\])?)?)")

#: A statement and the values of its parameters.
Statement: TypeAlias = tuple[str, Mapping[str, Any]]


class PreparingConnection(psycopg2.extensions.connection):
    """A connection that remembers its prepared statements."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: For each statement, the text that executes it. The most recently used comes last.
        self.prepared: OrderedDict[str, str] = OrderedDict()


def execute(cursor: Cursor, statement: str, values: Mapping[str, Any]) -> None:
    """Execute a statement with parameters of the form ``%(name)s``. Prepare it if needed.

    PostgreSQL must be able to infer the type of each parameter from the statement. The plan may
    not depend on the values, so that a generic plan is as good as a plan for the values.
    """
    cursor.execute(_text(cursor, statement), values)


def execute_all(
    cursor: Cursor, statements: Sequence[Statement], *, first: str = "", then: str = ""
) -> None:
    """Execute statements with one request to the server. The cursor has the rows of the last one.

    Each statement sees what was committed before it began, as if it was sent alone. ``first`` and
    ``then`` are executed before and after them. They cannot be prepared, for example BEGIN. After
    an error, the following statements are not executed.
    """
    texts = [cursor.mogrify(_text(cursor, text), values) for text, values in statements]
    texts = [text for text in (first.encode(), *texts, then.encode()) if text]
    if texts:
        cursor.execute(b";".join(texts))


def _text(cursor: Cursor, statement: str) -> str:
    """The text that executes the prepared statement. It has the same parameters."""
    connection = cursor.connection
    if not isinstance(connection, PreparingConnection):
        return statement
    text = connection.prepared.get(statement)
    if text is None:
        return _prepare(cursor, connection, statement)
    connection.prepared.move_to_end(statement)
    return text


def _prepare(cursor: Cursor, connection: PreparingConnection, statement: str) -> str:
    while len(connection.prepared) >= MAX_STATEMENTS:
        oldest, _ = connection.prepared.popitem(last=False)
        cursor.execute(f"DEALLOCATE {_name(oldest)}")
    casts: dict[str, str] = {}
    for parameter, cast in _PARAMETER.findall(statement):
        casts[parameter] = casts.get(parameter) or cast
    numbers = {parameter: number for number, parameter in enumerate(casts, start=1)}
    numbered = _PARAMETER.sub(lambda match: f"${numbers[match[1]]}{match[2]}", statement)
    name = _name(statement)
    cursor.execute(f"PREPARE {name} AS {numbered.replace('%%', '%')}")
    # The values need the casts too: psycopg2 sends a list of texts as an array of texts.
    listed = ", ".join(f"%({parameter})s{cast}" for parameter, cast in casts.items())
    text = connection.prepared[statement] = f"EXECUTE {name}" + (f" ({listed})" if listed else "")
    return text


def _name(statement: str) -> str:
    return f"s_{blake2b(statement.encode(), digest_size=8).hexdigest()}"
