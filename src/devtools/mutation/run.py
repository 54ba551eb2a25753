"""Run the unit tests of a module against one mutation of it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from src.devtools.mutation.operators import Mutation
from src.devtools.mutation.server import Answer, Request

ROOT: Final = Path(__file__).parents[3]
#: A mutant that needs longer than the unchanged module by this factor hangs. It counts as killed.
_TIMEOUT_FACTOR: Final = 20
_MIN_TIMEOUT_SECONDS: Final = 60.0
_MAX_BASELINE_SECONDS: Final = 600.0


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


class Runner:
    """Runs tests in a server process, one run at a time."""

    def __init__(self) -> None:
        # The temporary folders of the tests may contain sockets, so the path must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            (sys.executable, "-m", "src.devtools.mutation.server", str(ROOT), self._folder.name),
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._process:  # closes the input, which ends the server
            pass
        self._folder.cleanup()

    def baseline_seconds(self, target: Target) -> float:
        """Run the tests on the unchanged module. Returns the duration.

        Raises:
            UnusableTestsError: the tests fail.
        """
        start = time.monotonic()
        answer = self._run(target, target.source, seconds=_MAX_BASELINE_SECONDS)
        if answer["code"] != 0:
            raise UnusableTestsError(
                f"{target.module}: its tests fail without a mutation:\n{answer['output']}"
            )
        return time.monotonic() - start

    def check(self, target: Target, mutation: Mutation, *, baseline: float) -> Outcome:
        """Run the tests against a mutation. A failure, a crash or a hang of the tests kills it."""
        seconds = max(_MIN_TIMEOUT_SECONDS, baseline * _TIMEOUT_FACTOR)
        answer = self._run(target, mutation.apply(target.source), seconds=seconds)
        return Outcome.SURVIVED if answer["code"] == 0 else Outcome.KILLED

    def _run(self, target: Target, source: str, *, seconds: float) -> Answer:
        mutant = Path(self._folder.name, "mutant.py")
        mutant.write_text(source, "utf-8")
        request = Request(
            file=os.path.realpath(target.file),
            mutant=str(mutant),
            tests=list(target.tests),
            seconds=seconds,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that runs the tests ended")
        answer: Answer = json.loads(line)
        return answer


def parse_tests(names: Sequence[str]) -> tuple[str, ...]:
    """The test files that match the given paths or globs, sorted."""
    files = {str(file.relative_to(ROOT)) for name in names for file in ROOT.glob(name)}
    return tuple(sorted(files))
