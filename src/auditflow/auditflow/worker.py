"""Worker threads. An exception that escapes a worker thread ends the process.

A process without one of its threads would still answer its probes, but would not do its work. The
orchestrator starts a process that ended again.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from auditflow.telemetry import logs

#: The maximum time for an orderly end after a thread has failed, in seconds.
END_SECONDS: Final = 10.0
#: The exit code of a process in which a thread has failed.
EXIT_CODE: Final = 70

log = logs.get(__name__)

_failures: list[str] = []
_on_failure: list[Callable[[], None]] = []


class Worker:
    """A named daemon thread that runs one function."""

    def __init__(self, name: str, run: Callable[[], None], *, niceness: int = 0) -> None:
        """``niceness`` lowers the thread's CPU priority, as that of the command nice (0 to 19)."""
        self.name = name
        self._run = run
        self._niceness = niceness
        self._failure: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._guard, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. Returns immediately."""
        self._thread.start()

    def stop(self, *, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the end of the thread. ``run`` must end by itself."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def check(self) -> str | None:
        """Why the thread does not run; None while it runs or after ``stop``."""
        if self._failure is not None:
            return self._failure
        if self._thread.is_alive() or self._stopping.is_set():
            return None
        return f"the thread {self.name} does not run"

    def _guard(self) -> None:
        try:
            if self._niceness:
                lower_priority(self._niceness)
            self._run()
        except BaseException as error:  # the reason must be logged, whatever it is
            self._failure = f"the thread {self.name} failed: {type(error).__name__}: {error}"
            _failures.append(self._failure)
            log.critical("thread failed, the process ends", thread=self.name, exc_info=True)
            for end in _on_failure:
                end()


def lower_priority(niceness: int) -> None:
    """Set the ``niceness`` (0 to 19) of the calling thread, unless it is higher already.

    Threads that this thread starts inherit it. Only Linux has a niceness for each thread.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            if os.getpriority(os.PRIO_PROCESS, thread) < niceness:
                os.setpriority(os.PRIO_PROCESS, thread, niceness)


def failure() -> str | None:
    """Why a worker thread of this process failed; None if none failed."""
    return _failures[0] if _failures else None


def end_process_on_failure() -> None:
    """From now on, a failed worker ends the process: orderly, or forcibly after ``END_SECONDS``."""
    if not _on_failure:
        _on_failure.append(_end_process)


def _end_process() -> None:
    timer = threading.Timer(END_SECONDS, os._exit, (EXIT_CODE,))
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)
