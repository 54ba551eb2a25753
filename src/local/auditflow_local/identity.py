"""Identity of a process: pid and start time.

The kernel reuses pids. Therefore a process is identified by its pid and its start time in clock
ticks since boot, and signals are sent through a pidfd, which never refers to a later process.
"""

import json
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True)
class Identity:
    """A process. ``started`` is in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the process with this pid. None if there is none, or only a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The program's name is in parentheses, and may contain spaces and parentheses.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if this process still runs."""
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)

    def process_tree(self) -> list["Identity"]:
        """Return this process and all its descendants, parents first."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children(recursive=True)
            if self.alive:
                return [self, *filter(None, (Identity.of(child.pid) for child in children))]
        return []

    def memory(self) -> int:
        """Return resident bytes of the process tree. Shared pages count once per process."""
        total = 0
        for process in self.process_tree():
            with suppress(psutil.NoSuchProcess):
                total += psutil.Process(process.pid).memory_info().rss
        return total


def kill(processes: Iterable[Identity]) -> None:
    """Send SIGKILL to every process."""
    for process in processes:
        process.signal(signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A process on disk, so that a later run of this program can find and stop it."""

    name: str
    identity: Identity
    stop_signal: signal.Signals

    def write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {
                "name": self.name,
                "pid": self.identity.pid,
                "started": self.identity.started,
                "stop_signal": self.stop_signal.name,
            }
        )
        temporary = file.with_suffix(".new")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(file)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read a record. None if there is none, or if it is truncated."""
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                name=data["name"],
                identity=Identity(data["pid"], data["started"]),
                stop_signal=signal.Signals[data["stop_signal"]],
            )
        except (FileNotFoundError, ValueError, KeyError):
            return None
