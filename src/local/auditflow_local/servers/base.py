"""What the servers have in common: a folder that is theirs, a port, a life."""

import hashlib
import shutil
import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from auditflow_local.ports import LOOPBACK
from auditflow_local.processes import Child, Command


class Server(ABC):
    """A server whose data are in one folder. Started again on that folder, it has them again.

    ``durable=False`` gives up surviving a power cut, for tests; a killed process loses nothing
    either way.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_seconds: ClassVar[float] = 60.0

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
            stop_seconds=15.0,
        )

    @property
    def log(self) -> Path:
        return self._child.log

    @property
    def pid(self) -> int | None:
        """The main process's number while it runs."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether every process that it needs is there. It may not answer yet: see ``ready``."""
        return self._child.running

    @property
    def exit_code(self) -> int | None:
        """None while it runs and before its first start; minus a signal's number, or the code."""
        return self._child.exit_code

    def start(self) -> None:
        """Start it, and return when it answers. Started already, it does nothing.

        Raises:
            StartError: it ended or did not answer in time; with the end of its log.
        """
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._start()
        try:
            self._child.wait_ready(self.ready, seconds=self.start_seconds)
            self._settle()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order; what it was doing is finished."""
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL every process of it at once, as a crash would."""
        self._child.kill()

    def revive(self) -> None:
        """Start it again after it died."""
        self.start()

    def restart(self) -> None:
        """Stop it if it runs, and start it."""
        self.stop()
        self.start()

    def destroy(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers as a client would want, now."""

    @abstractmethod
    def _command(self) -> Command:
        """What runs it."""

    def _start(self) -> None:
        self._child.spawn(self._command())

    def _settle(self) -> None:  # noqa: B027 - most have nothing to do here
        """What is to be done once it answers, before anybody else uses it."""

    def _label(self) -> str:
        """A short name that only this folder has."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
