"""PostgreSQL's text form of arrays.

psycopg2 sends a list as an expression with one literal for each element, which PostgreSQL parses
like any other expression. One literal for the array costs a fraction of that.
"""

from collections.abc import Iterable
from uuid import UUID


def literal(values: Iterable[UUID | int | str]) -> str:
    """An array of identifiers, numbers or other values that need no quotes."""
    return "{" + ",".join(map(str, values)) + "}"


def quoted(values: Iterable[str]) -> str:
    """An array of any texts."""
    return "{" + ",".join(map(_quote, values)) + "}"


def _quote(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
