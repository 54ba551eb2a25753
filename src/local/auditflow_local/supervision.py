"""Restarts components that ended, with exponential backoff."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from auditflow_local.errors import LocalError

_POLL_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 30.0
#: A component that has run for this time starts again with the first backoff step.
_STABLE_SECONDS: Final = 60.0


class Component(Protocol):
    """A process that can be started and supervised: a server or a service."""

    @property
    def name(self) -> str: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def respawn(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


def backoff_seconds(exits: int) -> float:
    """Return the delay before a restart after ``exits`` exits in a row: 0, 1, 2, 4 ... 30 s."""
    return 0.0 if exits <= 1 else min(2.0 ** (exits - 2), _MAX_BACKOFF_SECONDS)


class Supervisor:
    """Supervises each component on its own thread, so that a slow start delays no other restart."""

    def __init__(self, components: Sequence[Component], report: Callable[[str], None]) -> None:
        self._report = report
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._supervise, args=(component,), name=f"supervise {component.name}"
            )
            for component in components
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop_restarting(self) -> None:
        """Restart nothing from now on. Returns at once; ``join`` waits for pending starts."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for pending starts. They fail early when their component is stopped."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _supervise(self, component: Component) -> None:
        exits, since = 0, time.monotonic()
        while not self._stopping.wait(_POLL_SECONDS):
            if component.running:
                if time.monotonic() - since > _STABLE_SECONDS:
                    exits = 0
                continue
            exits += 1
            delay = backoff_seconds(exits)
            when = f"in {delay:.0f} s" if delay else "now"
            self._report(f"{component.name} ended unexpectedly; restarting it {when}")
            if self._stopping.wait(delay):
                return
            since = time.monotonic()
            try:
                component.respawn()
            except LocalError as error:
                if not self._stopping.is_set():
                    self._report(str(error))
            else:
                self._report(f"{component.name} was restarted")
