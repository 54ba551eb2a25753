"""The documentation names only files and targets that exist."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s#]+)")


def pages() -> list[Path]:
    """Every page of Markdown that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / line for line in listed.stdout.splitlines()]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    broken = [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    assert not broken


def test_the_readme_names_only_paths_that_are_there() -> None:
    table = [
        line for line in (ROOT / "README.md").read_text().splitlines() if line[:8] == "| I want"
    ]
    assert table
    named = re.findall(r"`((?:src|apps|clusters|docs)/[^`<]*)`", (ROOT / "README.md").read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_paths_of_where_does_my_change_go_exist() -> None:
    """Each path in code font exists. A placeholder such as <env> matches any name."""
    page = (ROOT / "docs/reference/where-does-my-change-go.md").read_text("utf-8")
    named = re.findall(r"`((?:src|apps|clusters|bootstrap|infra|monitoring)/[^`]*)`", page)
    assert len(named) > 40
    missing = [
        path for path in named if not list(ROOT.glob(re.sub(r"<\w+>", "*", path).rstrip("/")))
    ]
    assert missing == []


def test_where_does_my_change_go_answers_ten_tasks() -> None:
    page = (ROOT / "docs/reference/where-does-my-change-go.md").read_text("utf-8")
    section = page.split("## Ten common tasks")[1].split("\n## ")[0]
    tasks = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(tasks) == 10
    for task in tasks:
        assert "`src/" in task.split("|")[2], task
