"""Fixtures of the monitoring tests."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def make_rules() -> ModuleType:
    """The program that `make rules` runs."""
    spec = importlib.util.spec_from_file_location("make_rules", ROOT / "monitoring/make_rules.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool; Debian's package `prometheus` has it")
    return found


@pytest.fixture(scope="session")
def alerts() -> dict[str, list[dict[str, Any]]]:
    """Every alerting rule by its topic: the name of its rule file."""
    found = {}
    for file in sorted((ROOT / "monitoring/rules").glob("*.yaml")):
        groups = yaml.safe_load(file.read_text())["groups"]
        found[file.stem] = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return found
