"""The signature or the docstring of a public function states what each of its numbers means."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1]
PACKAGES = [
    "auditflow/auditflow",
    "audit-event-generator/audit_event_generator",
    "audit-log-analysis/audit_analysis",
    "event-audit-dashboard/event_audit_dashboard",
    "gitops/gitops",
    "local/auditflow_local",
    "notification-service/notification_service",
    "provisioning/provisioning",
]
#: Names that state a unit, or that are a number of things by themselves.
_CLEAR = re.compile(
    r"(?:^|_)(?:ms|ns|seconds|minutes|hours|days|bytes|mebibytes|pixels|port|index|number|count"
    r"|limit|status|percent|line|pid|tag)$|_per_"
)
_NUMBERS = frozenset({"int", "float"})
#: Methods that override those of a library, with the parameters of the library.
_OVERRIDES = frozenset({"CheckedBackend.connect_tcp"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(
    node: ast.AST, classes: tuple[ast.ClassDef, ...] = ()
) -> Iterator[tuple[Function, tuple[ast.ClassDef, ...]]]:
    """The public functions and methods below a node, each with the classes around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from functions(child, (*classes, child))
        elif isinstance(child, Function) and (
            child.name == "__init__" or not child.name.startswith("_")
        ):
            yield child, classes


def is_command(function: Function) -> bool:
    """Whether the options of a command line describe the parameters."""
    return any("click." in ast.unparse(each) for each in function.decorator_list)


def is_number(annotation: ast.expr | None) -> bool:
    """Whether a parameter is a number, or a number or something else."""
    if isinstance(annotation, ast.BinOp):
        return is_number(annotation.left) or is_number(annotation.right)
    return isinstance(annotation, ast.Name) and annotation.id in _NUMBERS


def unclear(source: str) -> list[str]:
    """The numbers whose meaning is stated nowhere, as ``function(parameter)``.

    The docstring of the function, of its class or of its module states it, with the name of the
    parameter in double backticks or before a colon.
    """
    found = []
    module = ast.parse(source)
    for function, classes in functions(module):
        name = ".".join([*(each.name for each in classes), function.name])
        if is_command(function) or name in _OVERRIDES:
            continue
        texts = " ".join(ast.get_docstring(each) or "" for each in (module, *classes, function))
        arguments = function.args
        for parameter in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if (
                is_number(parameter.annotation)
                and not _CLEAR.search(parameter.arg)
                and not re.search(rf"``{parameter.arg}``|\b{parameter.arg}:", texts)
            ):
                found.append(f"{name}({parameter.arg})")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_meaning_of_every_number_is_stated(package: str) -> None:
    files = sorted((SRC / package).rglob("*.py"))
    assert files
    assert {
        str(file.relative_to(SRC)): names
        for file in files
        if (names := unclear(file.read_text("utf-8")))
    } == {}


def test_the_search_finds_unclear_numbers() -> None:
    source = '''
class Queue:
    """A queue. ``depth`` is in messages."""
    def __init__(self, depth: int, timeout: float | None, sizes: list[int]) -> None: ...
    def wait(self, seconds: float, wait_ms: int, size: int) -> None:
        """Wait."""
    def read(self, size: int) -> None:
        """Read ``size`` bytes."""
    def _hidden(self, size: int) -> None: ...
class _Hidden:
    def read(self, size: int) -> None: ...
@click.command()
def command(size: int) -> None: ...
'''
    assert unclear(source) == ["Queue.__init__(timeout)", "Queue.wait(size)"]
