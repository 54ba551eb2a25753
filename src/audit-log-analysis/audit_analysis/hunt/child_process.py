"""Starts the process of a hunt, and waits for its outcome."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final

from audit_analysis.hunt.jobs import HuntJob, HuntOutcome

_POLL_SECONDS: Final = 0.2
#: Maximum time of a process to end after its standard input ended, in seconds.
END_SECONDS: Final = 5.0


def run(
    command: Sequence[str], job: HuntJob, *, seconds: float, is_interrupted: Callable[[], bool]
) -> HuntOutcome | None:
    """Run the process once. The process has always ended when this function returns.

    Args:
        command: The command. The folder of the hunt is added as the last argument.
        job: The files of the hunt.
        seconds: The maximum run time.
        is_interrupted: Checked several times a second. True ends the process.

    Returns:
        How the process ended; None if it was interrupted.
    """
    process = subprocess.Popen(  # noqa: S603 - no part of it is from a request
        [*command, str(job.folder)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env=dict(os.environ), start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + seconds
        while process.poll() is None:
            if is_interrupted():
                return None
            if time.monotonic() >= deadline:
                return HuntOutcome(error=f"no result within {seconds:g} s")
            try:
                process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    finally:
        _end(process)
    outcome = job.outcome()
    if outcome is not None:
        return outcome
    return HuntOutcome(
        error=f"the process of the hunt ended with {process.returncode}. It may have needed"
        " more memory than its limit."
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process: it ends itself when its standard input ends."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
