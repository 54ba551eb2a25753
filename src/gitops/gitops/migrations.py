"""Whether an older version of the notification service works on the schema of a newer version.

A rollback does not change the database. The older version works if the migrations that the newer
version added only expand the schema. This module finds statements that do not. Pure.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Final

#: The folder of the migrations.
FOLDER: Final = "src/notification-service/notification_service/migrations/versions"
#: The service that owns the schema.
SERVICE: Final = "notification-service"

#: SQL that an older version can fail on, with the reason.
_STATEMENTS: Final = (
    (r"\bDROP\s+(TABLE|COLUMN|VIEW|MATERIALIZED\s+VIEW|FUNCTION|TYPE|SCHEMA|SEQUENCE)\b", "drops"),
    (r"\bRENAME\s+(COLUMN\s+\w+\s+)?TO\b", "renames"),
    (r"\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b", "changes the type of a column"),
    (r"\bSET\s+NOT\s+NULL\b", "makes a column mandatory"),
    (r"\bTRUNCATE\b", "deletes all rows"),
    (r"\bALTER\s+COLUMN\s+\w+\s+DROP\s+DEFAULT\b", "removes a default"),
    (
        r"\bADD\s+COLUMN\s+(?:(?!,\s*ADD\b|;|\bDEFAULT\b|\bGENERATED\b).)*?\bNOT\s+NULL\b"
        r"(?!\s+(?:DEFAULT|GENERATED)\b)",
        "adds a mandatory column without a default",
    ),
)
#: Operations of Alembic that an older version can fail on.
_OPERATIONS: Final = {
    "drop_column": "drops a column",
    "drop_table": "drops a table",
    "rename_table": "renames a table",
}
#: The body of a function is not executed by the migration.
_FUNCTION_BODY: Final = re.compile(r"\$(\w*)\$.*?\$\1\$", re.S)
_COMMENT: Final = re.compile(r"--[^\n]*")


def incompatible(added: Mapping[str, bytes]) -> tuple[str, ...]:
    """The reasons why a version without these migrations may fail on their schema.

    Args:
        added: the content of each migration that only the newer version has, by its file name.
    """
    return tuple(
        f"{name}: {reason}"
        for name, content in sorted(added.items())
        if name.endswith(".py") and not name.endswith("__init__.py")
        for reason in _reasons(content)
    )


def _reasons(content: bytes) -> list[str]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return ["cannot be read"]
    found: dict[str, None] = {}
    for node in _executed(tree):
        match node:
            case ast.Constant(value=str(text)):
                sql = _COMMENT.sub("", _FUNCTION_BODY.sub("", text))
                for pattern, reason in _STATEMENTS:
                    if match := re.search(pattern, sql, re.I | re.S):
                        found[f"{reason} ({' '.join(match[0].split())})"] = None
            case ast.Call(func=ast.Attribute(attr=name)) if name in _OPERATIONS:
                found[_OPERATIONS[name]] = None
            case ast.Call(func=ast.Attribute(attr="alter_column"), keywords=keywords):
                if {word.arg for word in keywords} & {"nullable", "type_", "new_column_name"}:
                    found["alters a column"] = None
    return list(found)


def _executed(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes, except docstrings and those of ``downgrade``, which never runs."""
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name="downgrade"):
                continue
            case ast.Expr(value=ast.Constant()):
                continue
            case _:
                yield from ast.walk(statement)
