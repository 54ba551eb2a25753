"""Starting again what died, with patience that grows."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from auditflow_local.errors import LocalError

_LOOK_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 30.0
#: Whoever has run this long is thought to be well again.
_WELL_SECONDS: Final = 60.0


class Part(Protocol):
    """What can be started and watched: a server or a service."""

    @property
    def name(self) -> str: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def revive(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


def waiting_seconds(deaths: int) -> float:
    """How long to wait before starting again: at once, then 1, 2, 4 ... at most 30 s."""
    return 0.0 if deaths <= 1 else min(2.0 ** (deaths - 2), _LONGEST_WAIT_SECONDS)


class Supervisor:
    """Watches each part on a thread of its own, so that one that is ill does not hide another."""

    def __init__(self, parts: Sequence[Part], say: Callable[[str], None]) -> None:
        self._say = say
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(part,), name=f"watch {part.name}")
            for part in parts
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def let_go(self) -> None:
        """Start nothing again from now on. Returns at once; ``join`` waits."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for starts that were under way. They end early when their part is stopped."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _watch(self, part: Part) -> None:
        deaths, since = 0, time.monotonic()
        while not self._stopping.wait(_LOOK_SECONDS):
            if part.running:
                if time.monotonic() - since > _WELL_SECONDS:
                    deaths = 0
                continue
            deaths += 1
            wait = waiting_seconds(deaths)
            when = f"in {wait:.0f} s" if wait else "now"
            self._say(f"{part.name} ended by itself; starting it again {when}")
            if self._stopping.wait(wait):
                return
            since = time.monotonic()
            try:
                part.revive()
            except LocalError as error:
                if not self._stopping.is_set():
                    self._say(str(error))
            else:
                self._say(f"{part.name} runs again")
