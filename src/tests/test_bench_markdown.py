"""The tables of `make bench` in Markdown."""

from pathlib import Path

import pytest

from .bench import markdown

MEDIANS = {
    "logins rate": 10_000.0,
    "bare rate": 40_000.0,
    "logins analysis": 30.25,
    "logins sum": 90.0,
    **dict.fromkeys(
        [f"logins {name}" for name in ("redis", "rabbitmq", "archive", "notification")], 10.0
    ),
    "logins postgresql": 9.75,
}


def test_the_tables_replace_the_section_and_nothing_else(tmp_path: Path) -> None:
    # Given a document with tables of an earlier run
    file = tmp_path / "benchmarks.md"
    file.write_text(f"before\n{markdown.BEGIN}\n| old |\n{markdown.END}\nafter\n")

    markdown.write(file, MEDIANS, {"post 1": r"status \1 | 500"}, summary="2026-01-01.")

    text = file.read_text()
    assert text.startswith(f"before\n{markdown.BEGIN}\n2026-01-01. ")
    assert text.endswith(f"{markdown.END}\nafter\n")
    assert "old" not in text
    assert (
        "| logins: queue to readable alerts, single | events/s | 10,000 | 40,000 | 0.25 | ≥ 0.45"
        " | 44% below |\n"
    ) in text
    assert "| logins | 30.2 | 10.0 | 10.0 | 10.0 | 10.0 | 9.8 | 90.0 |\n" in text
    assert "- post 1 failed: status \\1 | 500\n" in text
    # and a second run replaces them again
    markdown.write(file, MEDIANS, {}, summary="2026-01-02.")
    assert file.read_text().count("queue to readable alerts") == 1


def test_a_file_without_the_section_is_refused_and_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("text\n")

    with pytest.raises(markdown.NoSectionError, match="make bench: begin"):
        markdown.write(file, MEDIANS, {}, summary="")

    assert file.read_text() == "text\n"
