"""Check the types of the packages and of all tests in one run: ``python -m src.tests.typecheck``.

The ``mypy`` command takes a module's name from its path. That fails for the tests, because a folder
such as ``audit-log-analysis`` is no Python name, and several folders have a ``conftest``. Therefore
this program names the test modules itself: ``src/audit-log-analysis/tests/conftest.py`` is
``src.audit_log_analysis.tests.conftest``. Options for tests are overrides in ``pyproject.toml``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mypy.fscache import FileSystemCache
from mypy.main import process_options, run_build
from mypy.modulefinder import BuildSource
from mypy.util import FancyFormatter, count_stats

ROOT = Path(__file__).parents[2]
#: What the ``mypy`` command can name by itself.
PACKAGES = ("src", "monitoring", "--exclude", "/tests/")


def modules_of_tests(root: Path) -> dict[str, Path]:
    """Return every Python file of the tests, relative to ``root``, by the name of its module."""
    files = [root / "src" / "conftest.py", *root.glob("src/tests/**/*.py")]
    files += root.glob("src/*/tests/**/*.py")
    modules = {}
    for file in sorted(files):
        path = file.relative_to(root)
        parts = path.with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        modules[".".join(parts).replace("-", "_")] = path
    return modules


def main() -> int:
    """Print all errors; return 0 if there are none."""
    os.chdir(ROOT)
    cache = FileSystemCache()
    sources, options = process_options(
        list(PACKAGES), stdout=sys.stdout, stderr=sys.stderr, fscache=cache
    )
    known = {Path(source.path or "") for source in sources}
    sources += [
        BuildSource(str(path), module, base_dir=".")
        for module, path in modules_of_tests(ROOT).items()
        if path not in known
    ]
    _, messages, blocked = run_build(sources, options, cache, time.time(), sys.stdout, sys.stderr)
    errors, _, files = count_stats(messages)
    formatter = FancyFormatter(sys.stdout, sys.stderr, options.hide_error_codes)
    if errors:
        print(formatter.format_error(errors, files, len(sources), blockers=blocked))  # noqa: T201
    else:
        print(formatter.format_success(len(sources)))  # noqa: T201
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
