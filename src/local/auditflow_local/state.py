"""Who runs the stack of this checkout: at most one process, which holds a lock while it does."""

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
from auditflow_local.processes import end_recorded


@dataclass(frozen=True)
class State:
    """What the running stack says about itself."""

    pid: int
    started: int
    #: "starting", "ready" or "stopping"
    phase: str
    ports: dict[str, int]

    @classmethod
    def read(cls, layout: Layout) -> Self | None:
        """The stack that runs now, if one does."""
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
        fresh = layout.state.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        fresh.replace(layout.state)


@contextmanager
def hold(layout: Layout) -> Iterator[bool]:
    """Hold the lock; gives False when another process has it."""
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


def wait_until_free(layout: Layout, *, seconds: float) -> bool:
    """Whether nobody runs the stack any more, at the latest after this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with hold(layout) as held:
            if held:
                return True
        time.sleep(0.1)
    return False


def end_leftovers(layout: Layout) -> list[str]:
    """End what a stack left behind that was itself killed; services first. Gives the names."""
    ended: list[str] = []
    for files in (_records(layout.root / "run"), _records(layout.root / "servers")):
        with ThreadPoolExecutor(max_workers=8) as pool:
            ended += [name for name in pool.map(end_recorded, files) if name]
    return ended


def _records(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.process"))
