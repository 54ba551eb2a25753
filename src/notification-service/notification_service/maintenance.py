"""Periodic work in the database, in one thread. Locks decide which replica does it."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg2
from msgspec import Struct

from auditflow.errors import Unavailable
from auditflow.telemetry import logs

#: Time between two runs of the thread, in seconds.
TICK_SECONDS: Final = 1.0
log = logs.get(__name__)


class Task(Struct, frozen=True):
    """Something to do regularly. ``run`` returns True if more work remains.

    ``seconds`` is the time between two runs, and ``busy_seconds`` the time while many findings are
    stored, if that is longer.
    """

    name: str
    seconds: float
    run: Callable[[], bool | None]
    busy_seconds: float = 0.0


class Maintenance:
    """Runs tasks until it is stopped. A task that fails is logged and repeated later."""

    def __init__(
        self, tasks: Sequence[Task], *, is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        """``is_busy`` returns whether many findings are stored."""
        self._tasks = tuple(tasks)
        self._is_busy = is_busy
        self._last_runs = dict.fromkeys((task.name for task in tasks), -math.inf)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the task that runs."""
        self._stopping.set()

    def alive(self) -> str | None:
        """None while the thread runs, else what is wrong."""
        if self._thread.is_alive() or self._stopping.is_set() or not self._thread.ident:
            return None
        return "the maintenance thread ended"

    def run_once(self) -> None:
        """Run every task that is due."""
        for task in self._tasks:
            now = time.monotonic()
            seconds = max(task.seconds, task.busy_seconds) if self._is_busy() else task.seconds
            if now < self._last_runs[task.name] + seconds or self._stopping.is_set():
                continue
            self._last_runs[task.name] = now
            try:
                if task.run():
                    self._last_runs[task.name] = -math.inf
            except (Unavailable, psycopg2.Error) as error:
                log.warning("maintenance failed", task=task.name, error=str(error))

    def _run(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            self.run_once()
