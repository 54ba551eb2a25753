"""Real programs that no package of PyPI carries, built by Go where they are not there yet."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from .forge import ROOT

_KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5"
#: Taken before a test has another: Go's caches are there.
_HOME = os.environ.get("HOME", "/")
_ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint"


def kustomize() -> str:
    """The pinned Kustomize, which the tests of the manifests have built as a rule."""
    return _built(
        _KUSTOMIZE, ROOT / "src/tests/manifests/tools", ".auditflow/manifests", "kustomize"
    )


def actionlint() -> str:
    """The pinned actionlint."""
    return _built(_ACTIONLINT, Path(__file__).parent / "tools", ".auditflow/gitops", "actionlint")


def of_the_environment(name: str) -> str:
    """A program that a package of the dev group brings; without it, the test is skipped."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} (`make setup` installs it)")
    return found


@cache
def _built(package: str, tools: Path, place: str, name: str) -> str:
    module = package.partition("/cmd/")[0]
    version = next(
        line.split()[-1 if line.startswith("require") else 1]
        for line in (tools / "go.mod").read_text().splitlines()
        if module in line.split() and " v" in line
    )
    program = ROOT / place / f"{name}-{version}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        fresh = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            (of_the_environment("go"), "build", "-o", str(fresh), package),
            cwd=tools,
            env={**os.environ, "CGO_ENABLED": "0", "HOME": _HOME},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        fresh.replace(program)
    return str(program)
