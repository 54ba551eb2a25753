"""Ports: checks whether a port is free, finds its process, and picks free ports for tests."""

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
#: Below 32768, where Linux assigns no port to a client connection before the server listens.
_RANGE: Final = range(20100, 29900)
#: Locks of the ports that this process picked. The kernel releases them with the process.
_locks: list[int] = []


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str | None:
    """Return the listening process as "name (process 123)". None if it is not visible."""
    with suppress(psutil.AccessDenied):
        for connection in psutil.net_connections(kind="tcp"):
            matches = connection.laddr and connection.laddr.port == port
            if matches and connection.status == psutil.CONN_LISTEN and connection.pid:
                with suppress(psutil.NoSuchProcess):
                    return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return None


def require_free(port: int, *, name: str, variable: str, host: str = LOOPBACK) -> None:
    """Check that a port is free.

    Raises:
        PortTakenError: the text names the process and the variable that changes the port.
    """
    if not is_free(port, host):
        raise PortTakenError(port, name=name, holder=holder(port), variable=variable)


def pick() -> int:
    """Return a free port for a test. No other call in any process returns the same port."""
    folder = Path(tempfile.gettempdir()) / f"auditflow-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for _ in range(500):
        port = random.choice(_RANGE)  # noqa: S311 - not for security
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
    _locks.append(handle)
    return True
