"""Who a process is. A number alone is not enough: numbers are used again after a process ends.

So a process is its number and the moment it started (clock ticks since boot, which no change of
the clock moves), and a signal goes through a pidfd, which cannot reach a successor.
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
    """One process, for ever."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this number now, or None when none has, or only a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The program's name, in brackets, may itself hold spaces and brackets.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if this very process is still there."""
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)

    def family(self) -> list["Identity"]:
        """This process and all that descend from it, eldest first."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children(recursive=True)
            if self.alive:
                return [self, *(one for child in children if (one := Identity.of(child.pid)))]
        return []

    def memory(self) -> int:
        """Resident bytes of this process and its descendants; shared pages count each time."""
        total = 0
        for one in self.family():
            with suppress(psutil.NoSuchProcess):
                total += psutil.Process(one.pid).memory_info().rss
        return total


def kill(family: Iterable[Identity]) -> None:
    """SIGKILL every one of them."""
    for one in family:
        one.signal(signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A process written down, so that another run of this program can find and end it."""

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
        fresh = file.with_suffix(".new")
        fresh.write_text(text + "\n", encoding="utf-8")
        fresh.replace(file)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """None when there is no record, or one that a full disk cut short."""
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                name=data["name"],
                identity=Identity(data["pid"], data["started"]),
                stop_signal=signal.Signals[data["stop_signal"]],
            )
        except (FileNotFoundError, ValueError, KeyError):
            return None
