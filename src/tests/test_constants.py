"""Packages do not repeat constants: a value that several packages need is defined in one place."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest
from msgspec import Struct

ROOT: Final = Path(__file__).parents[2]
#: Names of settings of one operation. Equal numbers under these names are a coincidence.
OF_ONE_OPERATION: Final = frozenset(
    {
        "ATTEMPTS", "CHECK_SECONDS", "CONFIRM_SECONDS", "PAGE", "PAUSE_SECONDS", "POLL_SECONDS",
        "RETRY_SECONDS", "SECONDS", "STOP_SECONDS", "TIMEOUT_SECONDS",
    }
)  # fmt: skip
#: Shorter texts are not a constant of two packages by themselves.
MIN_TEXT: Final = 6


class Constant(Struct, frozen=True):
    """A constant of a module: its name without underscores, and its value as comparable text."""

    package: str
    path: str
    line: int
    name: str
    value: str
    #: Whether equal values with different names are the same constant, too.
    is_distinctive: bool


class Accepted(Struct, frozen=True):
    """Packages that may repeat a constant. ``name`` is * for a value with several names."""

    name: str
    value: str
    packages: frozenset[str]
    reason: str


def accepted(name: str, value: object, packages: str, reason: str) -> Accepted:
    return Accepted(name, _text(value), frozenset(packages.split()), reason)


def _text(value: object) -> str:
    return f"expression Path({str(value)!r})" if isinstance(value, Path) else repr(value)


DIFFERENT_LIMITS: Final = "Limits of different inputs. Each may change without the others."
NO_DEPENDENCY: Final = "The packages do not depend on each other, and the system defines the value."
NAME_OF_SERVICE: Final = "The name of a service, which is a part of public names."

ACCEPTED: Final = (
    accepted("*", "audit-log-analysis", "audit-log-analysis local", NAME_OF_SERVICE),
    accepted("*", "event-audit-dashboard", "event-audit-dashboard lab local", NAME_OF_SERVICE),
    accepted("*", "notification-service", "gitops notification-service", NAME_OF_SERVICE),
    accepted(
        "*", "auditflow", "audit-log-analysis local notification-service",
        "The name of the product: a log source, a database and a key have it.",
    ),
    accepted(
        "*", "unknown", "audit-event-generator audit-log-analysis",
        "Okta's value for a missing outcome, and the text for a missing name in a description.",
    ),
    accepted(
        "*", "auditflow_app", "audit-log-analysis local",
        "The role of the notification service in PostgreSQL, which operators can see.",
    ),
    accepted("*", Path("/usr/sbin/policy-rc.d"), "lab local", NO_DEPENDENCY),
    accepted(
        "*", Path("/var/run/secrets/kubernetes.io/serviceaccount"), "gitops provisioning",
        NO_DEPENDENCY,
    ),
    accepted(
        "MAX_BYTES", 256 * 1024, "audit-event-generator event-audit-dashboard", DIFFERENT_LIMITS
    ),
    accepted("MAX_DEPTH", 32, "auditflow notification-service", DIFFERENT_LIMITS),
    accepted("MAX_EVENTS", 10_000, "audit-log-analysis event-audit-dashboard", DIFFERENT_LIMITS),
    accepted("MAX_HEADER", 1_000, "audit-log-analysis notification-service", DIFFERENT_LIMITS),
    accepted("MAX_NAME", 128, "audit-log-analysis event-audit-dashboard", DIFFERENT_LIMITS),
    accepted("MAX_PATH", 200, "audit-log-analysis auditflow", DIFFERENT_LIMITS),
    accepted("MAX_SOURCES", 1_000, "audit-log-analysis notification-service", DIFFERENT_LIMITS),
    accepted("MAX_TEXT", 200, "audit-log-analysis event-audit-dashboard", DIFFERENT_LIMITS),
    accepted("MAX_TEXT", 500, "event-audit-dashboard notification-service", DIFFERENT_LIMITS),
    accepted("MAX_TEXT", 4_096, "audit-event-generator audit-log-analysis", DIFFERENT_LIMITS),
    accepted("MAX_VALUE", 1_000, "audit-log-analysis notification-service", DIFFERENT_LIMITS),
    accepted("FAILURES", 5, "auditflow notification-service", DIFFERENT_LIMITS),
)  # fmt: skip


def constants_of(package: str, path: str, source: str) -> Iterator[Constant]:
    """The constants of a module: assignments to names in capital letters."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign):
            targets: list[ast.expr] = [node.target]
        elif isinstance(node, ast.Assign):
            targets = node.targets
        else:
            continue
        if len(targets) != 1 or not isinstance(targets[0], ast.Name) or node.value is None:
            continue
        name = targets[0].id.strip("_")
        if name != name.upper() or _is_type_variable(node.value):
            continue
        value, is_distinctive = _value_of(node.value)
        yield Constant(package, path, node.lineno, name, value, is_distinctive)


def _is_type_variable(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "TypeVar"


def _value_of(node: ast.expr) -> tuple[str, bool]:
    """The value as text, and whether it is distinctive: a long text, or several values."""
    value = _evaluate(node)
    match value:
        case None:
            text = ast.unparse(node)
            return f"expression {text}", text.startswith("Path(") and "__file__" not in text
        case str() | bytes():
            return repr(value), len(value) >= MIN_TEXT
        case tuple() | list() | set() | frozenset():
            return repr(tuple(sorted(map(repr, value)))), len(value) > 1
        case dict():
            return repr(value), len(value) > 1
        case _:
            return repr(value), False


def _evaluate(node: ast.expr) -> object:
    """The value of a literal or of a product of numbers; None for all other expressions."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _evaluate(node.left), _evaluate(node.right)
        if isinstance(left, int | float) and isinstance(right, int | float):
            return left * right
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "frozenset" and node.args:
        return _evaluate(node.args[0])
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


def repeated(constants: Iterable[Constant]) -> Iterator[tuple[str, list[Constant]]]:
    """Constants of several packages with an equal value and name, or with a distinctive value."""
    groups = defaultdict[tuple[str, str], list[Constant]](list)
    for constant in constants:
        name = "*" if constant.is_distinctive else constant.name
        if name in OF_ONE_OPERATION:
            continue
        groups[name, constant.value].append(constant)
    for (name, _), group in groups.items():
        if len({constant.package for constant in group}) > 1:
            yield name, group


def _all_constants() -> Iterator[Constant]:
    for project in sorted(ROOT.glob("src/*/pyproject.toml")):
        folder = project.parent
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).parts
            if parts[0] == "tests" or any(part.startswith(".") for part in parts):
                continue
            yield from constants_of(folder.name, str(path.relative_to(ROOT)), path.read_text())


@pytest.fixture(scope="module")
def repetitions() -> list[tuple[str, list[Constant]]]:
    return list(repeated(_all_constants()))


def test_no_package_repeats_a_constant(repetitions: list[tuple[str, list[Constant]]]) -> None:
    known = {(item.name, item.value): item.packages for item in ACCEPTED}
    faults = [
        f"{group[0].value[:60]}: " + ", ".join(f"{item.path}:{item.line}" for item in group)
        for name, group in repetitions
        if not {item.package for item in group} <= known.get((name, group[0].value), frozenset())
    ]
    assert not faults, (
        "Define the constant in one package and import it, or accept it with a reason:\n"
        + "\n".join(faults)
    )


def test_accepted_repetitions_exist(repetitions: list[tuple[str, list[Constant]]]) -> None:
    found = {
        (name, group[0].value): frozenset(item.package for item in group)
        for name, group in repetitions
    }
    stale = [item.name for item in ACCEPTED if found.get((item.name, item.value)) != item.packages]
    assert not stale, "These entries are not true any more. A constant that must be equal changed?"


def of(first: str, second: str) -> list[tuple[str, list[Constant]]]:
    constants = [*constants_of("a", "a.py", first), *constants_of("b", "b.py", second)]
    return list(repeated(constants))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SLACK: Final = 600", "_SLACK = 600"),
        ("LIMIT = 256 * 1024", "LIMIT = 262_144"),
        ("HEADER = 'X-AuditFlow-User'", "USER: Final = 'X-AuditFlow-User'"),
        ("SERVICES = ('a', 'b')", "NAMES = frozenset({'b', 'a'})"),
        ("HEADERS = {'a': 1, 'b': 2}", "_JSON = {'a': 1, 'b': 2}"),
        ("HOUR = dt.timedelta(hours=1)", "HOUR: Final = dt.timedelta(hours=1)"),
        ("A = Path('/usr/sbin')", "B = Path('/usr/sbin')"),
    ],
)
def test_a_repeated_constant_is_found(first: str, second: str) -> None:
    assert len(of(first, second)) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SLACK = 600", "TIMEOUT = 600"),
        ("SLACK = 600", "SLACK = 601"),
        ("_ATTEMPTS = 5", "_ATTEMPTS = 5"),
        ("A = 'short'", "B = 'short'"),
        ("T = TypeVar('T')", "T = TypeVar('T')"),
        ("def f():\n    SLACK = 600", "SLACK = 600"),
    ],
)
def test_different_constants_are_not_reported(first: str, second: str) -> None:
    assert of(first, second) == []
