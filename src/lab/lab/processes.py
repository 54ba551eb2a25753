"""Background programs. Each is started once and stopped by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from . import shell
from .errors import LabError
from .waiting import until

#: Keeps Popen objects alive. Python warns if one is deleted while its program runs.
_KEPT: list[subprocess.Popen[bytes]] = []


class Processes:
    """Background programs of a run. Their pids are on disk, so that a later run can stop them."""

    def __init__(self, *, pids: Path, logs: Path) -> None:
        self._pids = pids
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, *argv: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program in its own session. Its output goes to its log."""
        words = [str(word) for word in argv]
        with (self._logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**shell.FEWER_COLLECTIONS, **os.environ, **(env or {})},
                start_new_session=True,
            )
        self._children[name] = child
        (self._pids / name).write_text(f"{child.pid}\n{words[0]}\n")
        return child

    def keep_running(self) -> None:
        """Keep them running after this program. A later run finds their pids."""
        _KEPT.extend(self._children.values())

    def check(self) -> None:
        """Raise an error if a program has ended unexpectedly."""
        for name, child in self._children.items():
            if child.poll() is not None:
                tail = (self._logs / f"{name}.log").read_text(errors="replace").splitlines()[-15:]
                raise LabError(
                    f"{name} ended by itself with {child.returncode}:\n" + "\n".join(tail)
                )

    def names(self) -> list[str]:
        """Return the names of running programs of this and earlier runs, newest first."""
        return [file.name for file in sorted(self._pids.iterdir(), key=_age)]

    def stop(self, name: str, *, grace: float = 10.0) -> None:
        """Stop a program by SIGTERM, and by SIGKILL after ``grace`` seconds."""
        file = self._pids / name
        if not file.exists():
            return
        pid, program = file.read_text().split("\n")[:2]
        for kind, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            # The kernel reuses pids. Only a process that the lab started is stopped.
            if not self._runs(name, int(pid), program):
                break
            os.kill(int(pid), kind)
            deadline = time.monotonic() + patience
            while self._runs(name, int(pid), program) and time.monotonic() < deadline:
                time.sleep(0.05)
        file.unlink()
        self._children.pop(name, None)

    def _runs(self, name: str, pid: int, program: str) -> bool:
        child = self._children.get(name)
        if child is not None:
            return child.poll() is None
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return program.encode() in command


def wait_for_file(path: Path, seconds: float) -> None:
    """Wait until a program has created a file, such as its socket."""
    until(path.exists, f"{path} appears", seconds=seconds)


def _age(file: Path) -> float:
    return -file.stat().st_mtime
