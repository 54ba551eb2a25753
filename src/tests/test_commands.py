"""The commands of ``auditflow`` are those that the documentation names."""

import re
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from auditflow.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").glob("*/README.md")]


def _documented() -> set[str]:
    """The commands that pages show, such as ``rules lint``, without options and arguments."""
    called = re.compile(
        r"(?:`|\.venv/bin/|^|\$ |\s)auditflow ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", re.MULTILINE
    )
    found = set()
    for page in PAGES:
        for block in re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL):
            for group, name in called.findall(block):
                command = main.get_command(click.Context(main), group)
                found.add(f"{group} {name}" if isinstance(command, click.Group) and name else group)
    return found


def test_each_entry_point_is_a_command_of_its_name() -> None:
    names = {entry_point.name for entry_point in entry_points(group="auditflow.commands")}
    assert {"hunt", "ledger", "rules"} <= names <= set(main.list_commands(click.Context(main)))


@pytest.mark.parametrize("documented", sorted(_documented()))
def test_a_documented_command_exists(documented: str) -> None:
    result = CliRunner().invoke(main, [*documented.split(), "--help"])
    assert result.exit_code == 0, result.output
