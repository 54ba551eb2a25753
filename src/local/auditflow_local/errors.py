"""Errors of this package. Each text states what is wrong and what to do."""

from pathlib import Path


class LocalError(Exception):
    """The root error of this package. The text is shown to the user."""


class PackagesMissingError(LocalError):
    """Programs are missing and cannot be installed.

    ``command`` is the command for an administrator.
    """

    def __init__(self, packages: tuple[str, ...], why: str, command: str) -> None:
        super().__init__(
            f"{', '.join(packages)}: not installed, and {why}.\n"
            f"Ask an administrator of this machine to run:\n\n    {command}\n"
        )
        self.packages = packages
        self.command = command


class PortTakenError(LocalError):
    """Another process listens on a port that a component needs."""

    def __init__(self, port: int, *, name: str, holder: str | None, variable: str) -> None:
        by = f"by {holder}" if holder else "by a process of another user"
        super().__init__(
            f"port {port}, needed by {name}, is used {by}.\n"
            f"Stop that process, or choose another port with {variable}, for example:\n\n"
            f"    make up {variable}={port + 1 if port < 65535 else port - 1}\n"
        )
        self.port = port
        self.holder = holder
        self.variable = variable


class StartError(LocalError):
    """A process ended or did not become ready during its start."""

    def __init__(self, name: str, why: str, log: Path) -> None:
        lines = last_lines(log)
        shown = "\n".join(f"    {line}" for line in lines) if lines else "    (nothing)"
        super().__init__(f"{name} {why}. The last lines of {log}:\n{shown}")
        self.name = name
        self.log = log


class NotRunningError(LocalError):
    """An operation needs a server or stack that is not running."""


def last_lines(file: Path, count: int = 15) -> list[str]:
    """Return the last lines of a log. Reads at most the last 16 KiB."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 16 * 1024))
            return stream.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
