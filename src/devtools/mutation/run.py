"""Run the unit tests of a module against one mutation of it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from src.devtools.mutation.operators import Mutation

ROOT: Final = Path(__file__).parents[3]
_HOOK: Final = Path(__file__).parent
#: A mutant that needs longer than the unchanged module by this factor hangs. It counts as killed.
_TIMEOUT_FACTOR: Final = 20
_MIN_TIMEOUT_SECONDS: Final = 60.0
_TESTS_FAILED: Final = 1


class Outcome(Enum):
    """The result of the tests for one mutation."""

    KILLED = "killed"
    SURVIVED = "survived"


class UnusableTestsError(Exception):
    """The tests fail without a mutation, so they cannot judge one."""


@dataclass(frozen=True)
class Target:
    """A module and the test files that must detect its mutations. Paths are relative to ROOT."""

    module: str
    tests: tuple[str, ...]

    @property
    def file(self) -> Path:
        """The absolute path of the module."""
        return ROOT / self.module

    @property
    def source(self) -> str:
        """The unchanged source text."""
        return self.file.read_text("utf-8")


def baseline_seconds(target: Target) -> float:
    """Run the tests on the unchanged module through the same mechanism. Returns the duration.

    Raises:
        UnusableTestsError: the tests fail.
    """
    start = time.monotonic()
    code, output = _run_tests(target, target.source, timeout=600)
    if code != 0:
        raise UnusableTestsError(f"{target.module}: its tests fail without a mutation:\n{output}")
    return time.monotonic() - start


def check(target: Target, mutation: Mutation, *, baseline: float) -> Outcome:
    """Run the tests against a mutation. A failure, a crash or a hang of the tests kills it."""
    timeout = max(_MIN_TIMEOUT_SECONDS, baseline * _TIMEOUT_FACTOR)
    code, _ = _run_tests(target, mutation.apply(target.source), timeout=timeout)
    return Outcome.SURVIVED if code == 0 else Outcome.KILLED


def _run_tests(target: Target, source: str, *, timeout: float) -> tuple[int, str]:
    """The exit code and the end of the output. A timeout counts as a failure of the tests."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        mutant = Path(folder, "mutant.py")
        mutant.write_text(source, "utf-8")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_HOOK), os.environ.get("PYTHONPATH")))),
            "MUTANT_FILE": os.path.realpath(target.file),
            "MUTANT_SOURCE": str(mutant),
            "HYPOTHESIS_STORAGE_DIRECTORY": folder,
        }
        command = (
            sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "--tb=no",
            "-p", "no:cacheprovider", "-p", "no:xdist",
            "--basetemp", str(Path(folder, "tmp")), *target.tests,
        )  # fmt: skip
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return _TESTS_FAILED, "timeout"
        return process.returncode, "\n".join(output.splitlines()[-15:])


def parse_tests(names: Sequence[str]) -> tuple[str, ...]:
    """The test files that match the given paths or globs, sorted."""
    files = {str(file.relative_to(ROOT)) for name in names for file in ROOT.glob(name)}
    return tuple(sorted(files))
