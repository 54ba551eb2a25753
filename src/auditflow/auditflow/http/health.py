"""Health that tells the truth: what each dependency last did, not what was hoped at start."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

from msgspec import Struct

State = Literal["up", "down"]
#: A probe's answer is kept this long, so that a storm of probes cannot load what it asks.
PROBE_SECONDS: Final = 1.0


class Dependency(Struct, frozen=True, omit_defaults=True):
    """One thing that a service needs, as ``/readyz`` shows it."""

    state: State
    detail: str | None = None


#: Looks at one dependency. Returns None when all is well, else what is wrong, within a second.
Check = Callable[[], str | None]


class Health:
    """The checks of one process.

    ``checks`` decide readiness. ``alive`` tells whether the process can still do its work at all:
    when it says no, a restart is the cure (a thread that ended, never a dependency that is away).
    """

    def __init__(self, checks: Mapping[str, Check], *, alive: Check = lambda: None) -> None:
        self._checks = dict(checks)
        self._alive = alive
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, Dependency]] = {}
        self._stopping = False

    def stop(self) -> None:
        """Not ready from now on: the process is ending, send it nothing new."""
        self._stopping = True

    def alive(self) -> str | None:
        """None while the process works, else why it cannot."""
        return self._alive()

    def dependencies(self) -> dict[str, Dependency]:
        """The state of each dependency, at most a second old."""
        with self._lock:
            return {name: self._look(name, check) for name, check in self._checks.items()}

    def ready(self) -> tuple[bool, dict[str, Dependency]]:
        """Whether all dependencies are up and the process is not stopping, and the states."""
        states = self.dependencies()
        return not self._stopping and all(one.state == "up" for one in states.values()), states

    def _look(self, name: str, check: Check) -> Dependency:
        moment, state = self._seen.get(name, (0.0, Dependency("down")))
        if time.monotonic() - moment < PROBE_SECONDS:
            return state
        wrong = check()
        state = Dependency("up") if wrong is None else Dependency("down", wrong)
        self._seen[name] = (time.monotonic(), state)
        return state
