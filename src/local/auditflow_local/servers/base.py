"""Base class of the servers."""

import hashlib
import shutil
import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from auditflow_local.ports import LOOPBACK
from auditflow_local.processes import Child, Command


class Server(ABC):
    """A server with its data in one folder.

    ``durable=False`` is for tests: a power failure may lose data, a killed process does not.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: A busy machine needs half a minute for a broker.
    start_seconds: ClassVar[float] = 120.0

    def __init__(
        self, folder: Path, *, port: int, log: Path | None = None, durable: bool = True
    ) -> None:
        self.folder = folder.resolve()
        self.host = LOOPBACK
        self.port = port
        self.durable = durable
        self._child = Child(
            self.name,
            log=log or self.folder / f"{self.name}.log",
            record=self.folder / f"{self.name}.process",
            stop_signal=self.stop_signal,
            stop_seconds=40.0,
        )

    @property
    def log(self) -> Path:
        return self._child.log

    @property
    def pid(self) -> int | None:
        """The pid of the main process while it runs."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether all its processes run. It may not answer yet: see ``ready``."""
        return self._child.running

    @property
    def exit_code(self) -> int | None:
        """The exit code or negative signal number. None while it runs and before its start."""
        return self._child.exit_code

    def start(self) -> None:
        """Start it and return when it answers. Does nothing if it runs.

        Raises:
            StartError: it ended or did not answer in time. The text contains the end of its log.
        """
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._start()
        try:
            self._child.wait_ready(self.ready, seconds=self.start_seconds)
            self._after_start()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop it gracefully."""
        self._child.stop()

    def kill(self) -> None:
        """Send SIGKILL to all its processes, which has the effect of a crash."""
        self._child.kill()

    def respawn(self) -> None:
        """Start it again after it ended."""
        self.start()

    def restart(self) -> None:
        """Stop it if it runs, and start it."""
        self.stop()
        self.start()

    def destroy(self) -> None:
        """Kill it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def ready(self) -> bool:
        """Return whether it answers clients."""

    @abstractmethod
    def _command(self) -> Command:
        """Return the command that runs it."""

    def _start(self) -> None:
        self._child.spawn(self._command())

    def _after_start(self) -> None:  # noqa: B027 - optional
        """Prepare the server when it answers, before clients use it."""

    def _label(self) -> str:
        """Return a short name that is unique to this folder."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
