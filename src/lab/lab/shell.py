"""Runs programs. Their output is shown only in the error of a failed program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import CommandFailed

#: Most of the programs are short-lived Go programs. A larger garbage collection target saves CPU
#: time and costs memory.
FEWER_COLLECTIONS = {"GOGC": "400"}
#: Number of output lines of a failed program in the error.
TAIL_LINES = 30


def run(
    *argv: str | Path,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program and return its stdout.

    :param env: added to this process's environment.
    :param timeout: seconds.
    :raises CommandFailed: the exit code is not 0. Contains the end of the output.
    """
    words = [str(word) for word in argv]
    done = _run(words, stdin=stdin, cwd=cwd, env=env, timeout=timeout)
    if done.returncode:
        output = (done.stdout + done.stderr).strip().splitlines()
        raise CommandFailed(words, done.returncode, "\n".join(output[-TAIL_LINES:]))
    return done.stdout


def succeeds(*argv: str | Path, timeout: float | None = None) -> bool:
    """Return whether a program exits with 0 in time."""
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
        env={**FEWER_COLLECTIONS, **os.environ, **(env or {})},
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL if stdin is None else None,
    )
