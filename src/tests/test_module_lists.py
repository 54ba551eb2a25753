"""The module tables of README files are generated from docstrings."""

from pathlib import Path

import pytest
from src.devtools import module_lists

_ROOT = Path(__file__).parents[2]


def test_tables_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert module_lists.main(["--check"]) == 0, capsys.readouterr().out


def test_each_migration_follows_the_one_before() -> None:
    """Two branches must not add a migration with the same number."""
    versions = Path("src/notification-service/notification_service/migrations/versions")
    files = sorted((_ROOT / versions).glob("v*.py"))
    expected = [f"{number:04}" for number in range(1, len(files) + 1)]
    assert [file.name[1:5] for file in files] == expected
    for file, number in zip(files, expected, strict=True):
        before = "None" if number == "0001" else f'"{int(number) - 1:04}"'
        text = file.read_text("utf-8")
        assert f'\nrevision = "{number}"\n' in text, file.name
        assert f"\ndown_revision = {before}\n" in text, file.name


def test_a_table_lists_modules_and_folders_with_their_first_sentence(tmp_path: Path) -> None:
    # given a package with a module, a folder and a module in the folder
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text('"""A package."""\n')
    (package / "one.py").write_text('"""Counts ``a | b``.\n\nMore text.\n"""\n')
    (package / "inner/__init__.py").write_text('"""A folder. With more text."""\n')
    (package / "inner/two.py").write_text('"""A long first\nsentence."""\n')

    # when the README is updated
    text = "<!-- modules: package -->\nold\n<!-- /modules -->\n"
    result = module_lists.updated(text, tmp_path)

    # then it contains one row for each
    assert result == (
        "<!-- modules: package -->\n"
        "| module | description |\n|---|---|\n"
        "| `inner/` | A folder |\n"
        "| `inner/two` | A long first sentence |\n"
        "| `one` | Counts `a \\| b` |\n"
        "<!-- /modules -->\n"
    )
    # and a second update changes nothing
    assert module_lists.updated(result, tmp_path) == result
    # and depth=1 leaves out the content of folders
    assert "inner/two" not in module_lists.updated(
        text.replace("package -->", "package depth=1 -->"), tmp_path
    )


def test_a_module_without_a_docstring_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(module_lists.MissingDocstringError, match=r"a\.py has no docstring"):
        module_lists.updated("<!-- modules: . -->\n<!-- /modules -->", tmp_path)
