"""State of the stack of this checkout. At most one process runs it, and holds a lock."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from auditflow_local.identity import Identity
from auditflow_local.layout import Layout
from auditflow_local.processes import stop_recorded


@dataclass(frozen=True)
class State:
    """State of the running stack."""

    pid: int
    started: int
    #: "starting", "ready" or "stopping"
    phase: str
    ports: dict[str, int]
    tls: bool = False

    @classmethod
    def read(cls, layout: Layout) -> Self | None:
        """Return the state of the running stack. None if it does not run."""
        try:
            state = cls(**json.loads(layout.state.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return state if state.identity.alive else None

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started)

    def write(self, layout: Layout) -> None:
        layout.state.parent.mkdir(parents=True, exist_ok=True)
        temporary = layout.state.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        temporary.replace(layout.state)


@contextmanager
def lock(layout: Layout) -> Iterator[bool]:
    """Acquire the lock. Yields False if another process holds it."""
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(layout.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def wait_until_unlocked(layout: Layout, *, seconds: float) -> bool:
    """Wait until no process runs the stack. Returns False after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with lock(layout) as acquired:
            if acquired:
                return True
        time.sleep(0.1)
    return False


def stop_leftovers(layout: Layout) -> list[str]:
    """Stop the processes that a killed stack left behind, services first. Returns their names."""
    stopped: list[str] = []
    for files in (_records(layout.root / "run"), _records(layout.root / "servers")):
        with ThreadPoolExecutor(max_workers=8) as pool:
            stopped += [name for name in pool.map(stop_recorded, files) if name]
    return stopped


def _records(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.process"))
