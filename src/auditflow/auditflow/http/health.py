"""Health checks: the current state of each dependency."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

from msgspec import Struct

State = Literal["up", "down"]
#: A result is reused for this time, so that frequent probes put no load on a dependency.
CACHE_SECONDS: Final = 1.0
#: The maximum time that a probe waits for all checks together.
TIMEOUT_SECONDS: Final = 1.0


class Dependency(Struct, frozen=True, omit_defaults=True):
    """The state of one dependency, as ``/readyz`` shows it."""

    state: State
    detail: str | None = None


#: Checks one dependency. Returns None if it is available, otherwise the reason.
Check = Callable[[], str | None]


class Health:
    """The checks of one process.

    ``checks`` decide about readiness. ``alive`` returns a reason if the process cannot do its work
    and only a restart helps: for example if a thread has ended, never if a dependency is down.

    A check that does not return within ``timeout`` seconds counts as down. It never delays the
    other checks or a later probe.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        alive: Check = lambda: None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._monitors = {name: _Monitor(name, check, timeout) for name, check in checks.items()}
        self._alive = alive
        self._timeout = timeout
        self._stopping = False

    def stop(self) -> None:
        """The process ends: it is not ready from now on."""
        self._stopping = True

    def alive(self) -> str | None:
        """Why the process cannot work; None while it can."""
        return self._alive()

    def dependencies(self) -> dict[str, Dependency]:
        """The state of each dependency, at most ``CACHE_SECONDS`` old."""
        deadline = time.monotonic() + self._timeout
        for monitor in self._monitors.values():
            monitor.refresh()
        return {name: monitor.wait(deadline) for name, monitor in self._monitors.items()}

    def ready(self) -> tuple[bool, dict[str, Dependency]]:
        """Whether all dependencies are up and the process is not stopping, and the states."""
        states = self.dependencies()
        ready = not self._stopping and all(item.state == "up" for item in states.values())
        return ready, states


class _Monitor:
    """Runs one check on its own thread, at most once at a time."""

    def __init__(self, name: str, check: Check, timeout: float) -> None:
        self._name = name
        self._check = check
        self._timeout = timeout
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._running = False
        self._checked_at: float | None = None
        self._result = Dependency("down", "not checked yet")

    def refresh(self) -> None:
        """Start the check unless it runs, or its result is recent."""
        with self._lock:
            recent = (
                self._checked_at is not None and time.monotonic() - self._checked_at < CACHE_SECONDS
            )
            if self._running or recent:
                return
            self._running = True
            self._done.clear()
        threading.Thread(target=self._run, name=f"check-{self._name}", daemon=True).start()

    def wait(self, deadline: float) -> Dependency:
        """The result of the check; down if it does not return before ``deadline``."""
        if not self._done.wait(max(0.0, deadline - time.monotonic())):
            return Dependency("down", f"no answer within {self._timeout:g} s")
        return self._result

    def _run(self) -> None:
        try:
            reason = self._check()
        except Exception as error:  # noqa: BLE001 - a check that fails is a dependency that is down
            reason = f"the check failed: {type(error).__name__}: {error}"
        with self._lock:
            self._result = Dependency("up") if reason is None else Dependency("down", reason)
            self._checked_at = time.monotonic()
            self._running = False
            self._done.set()
