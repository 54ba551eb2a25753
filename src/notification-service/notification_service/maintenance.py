"""Periodic work in the database, in one thread. Locks decide which replica does it."""

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
    """Something to do regularly. ``run`` returns True if more work remains."""

    name: str
    seconds: float
    run: Callable[[], bool | None]


class Maintenance:
    """Runs tasks until it is stopped. A task that fails is logged and repeated later."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tuple(tasks)
        self._next = dict.fromkeys((task.name for task in tasks), 0.0)
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
            if now < self._next[task.name] or self._stopping.is_set():
                continue
            self._next[task.name] = now + task.seconds
            try:
                if task.run():
                    self._next[task.name] = now
            except (Unavailable, psycopg2.Error) as error:
                log.warning("maintenance failed", task=task.name, error=str(error))

    def _run(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            self.run_once()
