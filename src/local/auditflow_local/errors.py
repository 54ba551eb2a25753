"""What can go wrong on one machine. Each text says what is wrong and the way out of it."""

from pathlib import Path


class LocalError(Exception):
    """The root of everything this package raises on purpose; the text is meant to be read."""


class PackagesMissingError(LocalError):
    """Programs are missing and cannot be installed from here.

    ``command`` is what an administrator has to run.
    """

    def __init__(self, packages: tuple[str, ...], why: str, command: str) -> None:
        super().__init__(
            f"{', '.join(packages)}: not installed, and {why}.\n"
            f"Ask an administrator of this machine to run:\n\n    {command}\n"
        )
        self.packages = packages
        self.command = command


class PortTakenError(LocalError):
    """Another process listens where one of ours wants to."""

    def __init__(self, port: int, *, name: str, holder: str | None, variable: str) -> None:
        by = f"by {holder}" if holder else "by a process that this user cannot see"
        super().__init__(
            f"port {port}, wanted for {name}, is taken {by}.\n"
            f"Stop that process, or choose another port with {variable}, for example:\n\n"
            f"    make up {variable}={port + 1 if port < 65535 else port - 1}\n"
        )
        self.port = port
        self.holder = holder
        self.variable = variable


class StartError(LocalError):
    """A process ended, or did not become ready, while it was being started."""

    def __init__(self, name: str, why: str, log: Path) -> None:
        lines = last_lines(log)
        shown = "\n".join(f"    {line}" for line in lines) if lines else "    (nothing)"
        super().__init__(f"{name} {why}. The last lines of {log}:\n{shown}")
        self.name = name
        self.log = log


class NotRunningError(LocalError):
    """Something was asked of a server or a stack that is not running."""


def last_lines(file: Path, count: int = 15) -> list[str]:
    """The end of a log; it may be large, so only its last 16 KiB are read."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 16 * 1024))
            return stream.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
