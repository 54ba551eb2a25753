"""``make lint`` checks the types of every test file."""

import subprocess

from . import typecheck


def test_every_test_file_has_a_module_name_of_its_own() -> None:
    # given all Python files of tests that git tracks
    listed = subprocess.run(
        ["git", "ls-files", "src/*/tests/*.py", "src/tests/*.py", "src/conftest.py"],
        cwd=typecheck.ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    # then each is checked, under a name that is valid in Python
    modules = typecheck.modules_of_tests(typecheck.ROOT)
    assert set(listed.stdout.split()) <= {str(path) for path in modules.values()}
    assert all(part.isidentifier() for name in modules for part in name.split("."))
