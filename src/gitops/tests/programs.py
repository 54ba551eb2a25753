"""Real programs that the tests call."""

import shutil
import sys
from pathlib import Path

import pytest

from auditflow_local import programs


def kustomize() -> str:
    """The pinned Kustomize."""
    return str(programs.build(programs.KUSTOMIZE))


def actionlint() -> str:
    """The pinned actionlint."""
    return str(programs.build(programs.ACTIONLINT))


def helm() -> str:
    """The pinned helm. Its first build needs about two minutes of CPU time."""
    return str(programs.build(programs.HELM))


def kyverno() -> str:
    """The pinned command line of Kyverno."""
    return str(programs.build(programs.KYVERNO))


def cosign() -> str:
    """The pinned cosign."""
    return str(programs.build(programs.COSIGN))


def installed(name: str) -> str:
    """A program of the dev dependencies. Without it, the test is skipped."""
    in_venv = Path(sys.executable).with_name(name)
    found = str(in_venv) if in_venv.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (`make setup` installs it)")
    return found
