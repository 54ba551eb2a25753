"""Run programs: output is kept quiet unless they fail, and then the error says all of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import CommandFailed

#: Most of the programs are short-lived Go programs. A larger garbage collection target saves CPU
#: time and costs memory.
SPENDTHRIFT = {"GOGC": "400"}
#: How much of a failed program's output stands in the error.
TAIL_LINES = 30


def run(
    *argv: str | Path,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program to its end and return what it printed on stdout.

    :param env: added to this process's environment.
    :param timeout: seconds.
    :raises CommandFailed: on any exit code but 0, with the tail of its output.
    """
    words = [str(word) for word in argv]
    done = _run(words, stdin=stdin, cwd=cwd, env=env, timeout=timeout)
    if done.returncode:
        output = (done.stdout + done.stderr).strip().splitlines()
        raise CommandFailed(words, done.returncode, "\n".join(output[-TAIL_LINES:]))
    return done.stdout


def succeeds(*argv: str | Path, timeout: float | None = None) -> bool:
    """Whether a program exits with 0, and in time; for questions whose "no" is no error."""
    try:
        return _run([str(word) for word in argv], timeout=timeout).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _run(
    words: Sequence[str],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        input=stdin,
        cwd=cwd,
        env={**SPENDTHRIFT, **os.environ, **(env or {})},
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL if stdin is None else None,
    )
