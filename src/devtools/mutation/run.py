"""Run the unit tests of a module against one mutation of it."""

import contextlib
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


class MutationResult(Enum):
    """The result of the tests for one mutation."""

    KILLED = "killed"
    SURVIVED = "survived"


class UnusableTestsError(Exception):
    """The tests fail without a mutation, so they cannot judge one."""


class ServerEndedError(Exception):
    """The process that runs the tests ended without an answer. A new process was started."""


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
        self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()
        self._folder.cleanup()

    def baseline_seconds(self, target: Target) -> float:
        """Run the tests on the unchanged module. Returns the duration.

        Raises:
            UnusableTestsError: the tests fail, or they end the server process.
        """
        start = time.monotonic()
        try:
            answer = self._run(target, target.source, seconds=_MAX_BASELINE_SECONDS)
        except ServerEndedError as error:
            raise UnusableTestsError(f"{target.module}: {error}") from None
        if answer["code"] != 0:
            raise UnusableTestsError(
                f"{target.module}: its tests fail without a mutation:\n{answer['output']}"
            )
        return time.monotonic() - start

    def check(self, target: Target, mutation: Mutation, *, baseline: float) -> MutationResult:
        """Run the tests against a mutation. A failure, a crash or a hang of the tests kills it.

        If the server process ends, the tests run again in a new one. The mutation is killed if that
        process ends too.
        """
        seconds = max(_MIN_TIMEOUT_SECONDS, baseline * _TIMEOUT_FACTOR)
        source = mutation.apply(target.source)
        try:
            answer = self._run(target, source, seconds=seconds)
        except ServerEndedError:
            try:
                answer = self._run(target, source, seconds=seconds)
            except ServerEndedError:
                return MutationResult.KILLED
        return MutationResult.SURVIVED if answer["code"] == 0 else MutationResult.KILLED

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, "-m", "src.devtools.mutation.server", str(ROOT), self._folder.name),
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _stop(self) -> int:
        """Close the input, which ends the server. Returns its exit code."""
        with contextlib.suppress(BrokenPipeError), self._process:
            pass
        return self._process.wait()

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
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line.endswith("\n"):
            code = self._stop()
            self._process = self._start()
            raise ServerEndedError(f"the process that runs the tests ended with exit code {code}")
        answer: Answer = json.loads(line)
        return answer


def parse_tests(names: Sequence[str]) -> tuple[str, ...]:
    """The test files that match the given paths or globs, sorted."""
    files = {str(file.relative_to(ROOT)) for name in names for file in ROOT.glob(name)}
    return tuple(sorted(files))
