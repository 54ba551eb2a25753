"""A child process that is looked after: its environment, its log, its orderly end."""

import http.client
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from auditflow_local import identity
from auditflow_local.errors import StartError
from auditflow_local.identity import Identity, Record

#: A log that is larger than this when its process starts is put aside as "<name>.log.1".
LOG_BYTES: Final = 10 * 1024 * 1024
#: Variables that a child may see of ours. The rest of a person's environment (PGHOST, PG_PASSWORD,
#: PYTHONPATH) must not change what it does.
INHERITED: Final = (
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "https_proxy",
    "http_proxy",
    "no_proxy",
)
POLL_SECONDS: Final = 0.05


def environment(**variables: str) -> dict[str, str]:
    """A child's environment: the few variables of ours that are harmless, and these."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {"LANG": "C.UTF-8", **kept, **variables}


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is to be run."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=environment)
    folder: Path | None = None
    #: The user that it runs as; None is the user that we are.
    user: str | None = None


class Child:
    """One process, in a session of its own so that a terminal's Ctrl-C does not reach it."""

    def __init__(
        self,
        name: str,
        *,
        log: Path,
        record: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 10.0,
    ) -> None:
        self.name = name
        self.log = log
        self.record = record
        self.stop_signal = stop_signal
        self.stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before its first start; minus a signal's number, or the code."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self.running else None

    def spawn(self, command: Command) -> None:
        """Start it; an earlier run that is still there, even of a program now gone, ends first."""
        self.stop()
        end_recorded(self.record, seconds=self.stop_seconds)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_name(self.log.name + ".1"))
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    command.argv,
                    env=dict(command.env),
                    cwd=command.folder,
                    **as_user(command.user),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except FileNotFoundError:
                program = command.argv[0]
                raise StartError(self.name, f"has no program {program}", self.log) from None
        self._identity = Identity.of(self._process.pid)
        if self._identity:
            Record(name=self.name, identity=self._identity, stop_signal=self.stop_signal).write(
                self.record
            )

    def wait_ready(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return once ``ready()`` is true.

        Raises:
            StartError: it ended, or was not ready in time; the text holds the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise StartError(self.name, f"ended with code {self.exit_code}", self.log)
            if time.monotonic() > deadline:
                raise StartError(self.name, f"was not ready after {seconds:.0f} s", self.log)
            time.sleep(POLL_SECONDS)

    def wait(self, *, seconds: float) -> None:
        """Return once it has ended with code 0.

        Raises:
            StartError: it ended otherwise, or not in time; the text holds the end of its log.
        """
        if self._process is None:
            return
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StartError(self.name, f"did not end in {seconds:.0f} s", self.log) from None
        self._forget()
        if code:
            raise StartError(self.name, f"ended with code {code}", self.log)

    def stop(self) -> None:
        """Ask it to end; after ``stop_seconds`` make it."""
        if self._process and self.running:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL it and all that descend from it, and wait until none of them is there."""
        if self._process and self._identity:
            family = self._identity.family()
            identity.kill(family)
            self._process.wait()
            _wait_gone(family, seconds=10)
        self._forget()

    def _forget(self) -> None:
        """Remove the record, unless it is of a process that is not ours and may still run."""
        record = Record.read(self.record)
        if record is None or record.identity == self._identity:
            self.record.unlink(missing_ok=True)


def end_recorded(file: Path, *, seconds: float = 10.0) -> str | None:
    """End the process that a record names, if it still runs; its name when there was one."""
    record = Record.read(file)
    if record is None or not record.identity.alive:
        file.unlink(missing_ok=True)
        return None
    family = record.identity.family()
    record.identity.signal(record.stop_signal)
    if not _wait_gone(family, seconds=seconds):
        identity.kill(family)
        _wait_gone(family, seconds=seconds)
    file.unlink(missing_ok=True)
    return record.name


def http_ok(host: str, port: int, path: str = "/readyz", *, seconds: float = 2.0) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def as_user(name: str | None) -> dict[str, Any]:
    """Arguments of ``Popen`` that make a program run as another user, and in no group of ours."""
    if name is None:
        return {}
    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _wait_gone(family: list[Identity], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(one.alive for one in family):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
