"""Divides the time of a run between the fuzz tests."""

from pathlib import Path

import pytest

from . import budget

_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    number = sum(item.path.is_relative_to(_FOLDER) for item in items)
    budget.number_of_tests = max(1, number)
