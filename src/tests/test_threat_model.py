"""docs/security.md: each threat has a defence and a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
#: The attackers that the model must consider.
ATTACKERS = (
    "Producer", "Viewer and analyst", "Operator", "Neighbour pod", "Stolen token", "Poisoned rule",
    "Poisoned image", "Malicious commit",
)  # fmt: skip
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| threat |")
]


def test_each_attacker_has_a_section_with_threats() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    for attacker in ATTACKERS:
        (section,) = [text for text in sections if text.startswith(attacker)]
        assert section.count("\n| ") >= 2, attacker
    assert sections[-1].startswith("Accepted risks")
    assert sections[-1].count("\n- **") >= 5


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_threat_has_a_defence_and_tests_that_exist(row: list[str]) -> None:
    threat, defence, tests = row
    assert threat
    assert defence
    links = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", tests)
    assert links, f"no test: {threat}"
    for name, link in links:
        file = (ROOT / "docs" / link).resolve()
        assert file.name == name
        assert re.search(
            r"^(async )?def (test_|step_|check_)|^    def test_", file.read_text("utf-8"), re.M
        ), link
