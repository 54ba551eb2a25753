"""Ports: whether one is free, who holds it, and free ones for tests."""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from auditflow_local.errors import LocalError, PortTakenError

LOOPBACK: Final = "127.0.0.1"
#: Below the range from which Linux takes the near end of connections (32768), so that a port
#: chosen here is not taken by a connection before its server listens.
_RANGE: Final = range(20100, 29900)
#: Locks of the ports that this process has chosen. They end with the process.
_held: list[int] = []


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str | None:
    """Who listens on a port, as "name (process 123)"; None when /proc does not tell this user."""
    with suppress(psutil.AccessDenied):
        for connection in psutil.net_connections(kind="tcp"):
            here = connection.laddr and connection.laddr.port == port
            if here and connection.status == psutil.CONN_LISTEN and connection.pid:
                with suppress(psutil.NoSuchProcess):
                    return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return None


def require(port: int, *, name: str, variable: str, host: str = LOOPBACK) -> None:
    """Nothing, if a port is free.

    Raises:
        PortTakenError: it says who has the port, and which variable changes ours.
    """
    if not is_free(port, host):
        raise PortTakenError(port, name=name, holder=holder(port), variable=variable)


def pick() -> int:
    """A free port for a test; no other call, in this process or another, gives it as well."""
    folder = Path(tempfile.gettempdir()) / f"auditflow-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for _ in range(500):
        port = random.choice(_RANGE)  # noqa: S311 - any number will do
        if is_free(port) and _lock(folder / str(port)):
            return port
    raise LocalError("there is no free port between 20100 and 29900")


def _lock(file: Path) -> bool:
    handle = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    _held.append(handle)
    return True
