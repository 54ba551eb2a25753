"""Real programs that the tests call."""

import shutil
import sys
from pathlib import Path

import pytest

from auditflow_local import programs


def kustomize() -> str:
    """The pinned Kustomize."""
    return str(programs.built(programs.KUSTOMIZE))


def actionlint() -> str:
    """The pinned actionlint."""
    return str(programs.built(programs.ACTIONLINT))


def of_the_environment(name: str) -> str:
    """A program that a package of the dev group brings; without it, the test is skipped."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} (`make setup` installs it)")
    return found
