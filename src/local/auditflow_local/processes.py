"""Child processes: environment, log file, pid record, stop."""

import http.client
import os
import pwd
import signal
import ssl
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

#: A log that is larger than this when its process starts is renamed to "<name>.log.1".
LOG_BYTES: Final = 10 * 1024 * 1024
#: Variables that a child inherits. Other variables of the user (PGHOST, PYTHONPATH) must not change
#: its behaviour.
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
    """Return the environment of a child: the inherited variables and ``variables``."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {"LANG": "C.UTF-8", **inherited, **variables}


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=environment)
    folder: Path | None = None
    #: The user that runs it. None means the current user.
    user: str | None = None


class Child:
    """A process in its own session, so that Ctrl-C in a terminal does not reach it."""

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
        """The exit code or negative signal number. None while it runs and before its start."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self.running else None

    def spawn(self, command: Command) -> None:
        """Start it. A process of an earlier run that still runs is stopped first."""
        self.stop()
        stop_recorded(self.record, seconds=self.stop_seconds)
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
        """Return when ``ready()`` is true.

        Raises:
            StartError: it ended, or was not ready in time. The text contains the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise StartError(self.name, f"ended with code {self.exit_code}", self.log)
            if time.monotonic() > deadline:
                raise StartError(self.name, f"was not ready after {seconds:.0f} s", self.log)
            time.sleep(POLL_SECONDS)

    def wait(self, *, seconds: float) -> None:
        """Return when it has ended with code 0.

        Raises:
            StartError: another code, or not in time. The text contains the end of its log.
        """
        if self._process is None:
            return
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StartError(self.name, f"did not end in {seconds:.0f} s", self.log) from None
        self._remove_record()
        if code:
            raise StartError(self.name, f"ended with code {code}", self.log)

    def stop(self) -> None:
        """Send the stop signal, and SIGKILL after ``stop_seconds``."""
        if self._process and self.running:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._remove_record()

    def kill(self) -> None:
        """Send SIGKILL to it and all descendants, and wait until they have ended."""
        if self._process and self._identity:
            tree = self._identity.process_tree()
            identity.kill(tree)
            self._process.wait()
            _wait_ended(tree, seconds=10)
        self._remove_record()

    def _remove_record(self) -> None:
        """Remove the record, unless it belongs to another process, which may still run."""
        record = Record.read(self.record)
        if record is None or record.identity == self._identity:
            self.record.unlink(missing_ok=True)


def stop_recorded(file: Path, *, seconds: float = 10.0) -> str | None:
    """Stop the process of a record. Returns its name, or None if it did not run."""
    record = Record.read(file)
    if record is None or not record.identity.alive:
        file.unlink(missing_ok=True)
        return None
    tree = record.identity.process_tree()
    record.identity.signal(record.stop_signal)
    if not _wait_ended(tree, seconds=seconds):
        identity.kill(tree)
        _wait_ended(tree, seconds=seconds)
    file.unlink(missing_ok=True)
    return record.name


def http_ok(
    host: str,
    port: int,
    path: str = "/readyz",
    *,
    seconds: float = 2.0,
    tls: ssl.SSLContext | None = None,
) -> bool:
    """Return whether a GET request gets the status 200. With ``tls``, it uses HTTPS."""
    connection = (
        http.client.HTTPConnection(host, port, timeout=seconds)
        if tls is None
        else http.client.HTTPSConnection(host, port, timeout=seconds, context=tls)
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def as_user(name: str | None) -> dict[str, Any]:
    """Return arguments of ``Popen`` that run a program as another user without our groups."""
    if name is None:
        return {}
    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _wait_ended(tree: list[Identity], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(process.alive for process in tree):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
