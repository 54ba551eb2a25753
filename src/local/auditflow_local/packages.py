"""The programs that come from the system's packages: which are missing, and installing only those.

Installing must not start or enable anything: what runs on this machine is not ours to change.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditflow_local.errors import LocalError, PackagesMissingError
from auditflow_local.servers import postgres_programs


@dataclass(frozen=True)
class Package:
    """A Debian package, how to see that what we need of it is there, and its system services."""

    name: str
    present: Callable[[], bool]
    units: tuple[str, ...] = ()


def _program(*names: str) -> Callable[[], bool]:
    # Debian's servers are in /usr/sbin, which is not in everybody's PATH.
    path = os.pathsep.join(
        (os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/lib/rabbitmq/bin")
    )
    return lambda: any(shutil.which(name, path=path) for name in names)


SERVERS: Final = (
    Package(
        "rabbitmq-server",
        _program("rabbitmq-server"),
        ("rabbitmq-server.service", "epmd.service", "epmd.socket"),
    ),
    Package("redis-server", _program("redis-server"), ("redis-server.service",)),
    Package("postgresql", lambda: bool(postgres_programs.installed()), ("postgresql.service",)),
)
#: What the tests of the user interface drive.
BROWSER: Final = (Package("chromium", _program("chromium", "chromium-browser", "google-chrome")),)
#: What the tests of the alert rules ask, promtool among it.
PROMETHEUS: Final = (
    Package("prometheus", _program("promtool"), ("prometheus.service",)),
    Package(
        "prometheus-postgres-exporter",
        _program("prometheus-postgres-exporter"),
        ("prometheus-postgres-exporter.service",),
    ),
    Package(
        "prometheus-redis-exporter",
        _program("prometheus-redis-exporter"),
        ("prometheus-redis-exporter.service",),
    ),
)
#: Whose amtool says where an alert would go.
ALERTMANAGER: Final = (
    Package("prometheus-alertmanager", _program("amtool"), ("prometheus-alertmanager.service",)),
)
#: With what backups leave the node.
RCLONE: Final = (Package("rclone", _program("rclone")),)
#: All that only tests need.
TESTS: Final = (*BROWSER, *PROMETHEUS, *ALERTMANAGER, *RCLONE)

_POLICY: Final = Path("/usr/sbin/policy-rc.d")
#: Says that a policy is ours, so that one left by a run that was killed is removed by the next.
_OURS: Final = "# AuditFlow, while it installs packages: start no service."
_CLUSTERS: Final = Path("/etc/postgresql-common/createcluster.conf")
_SYSTEMD: Final = Path("/run/systemd/system")
_LISTS: Final = Path("/var/lib/apt/lists")


def missing(packages: Sequence[Package]) -> tuple[Package, ...]:
    """Those of which something that we need is not there."""
    return tuple(package for package in packages if not package.present())


def ensure(packages: Sequence[Package] = SERVERS) -> tuple[str, ...]:
    """Install what is missing; the names of what was installed.

    Raises:
        PackagesMissingError: it cannot be done from here; says why, and what to run instead.
        LocalError: apt-get tried and failed; with what it said.
    """
    wanted = missing(packages)
    if not wanted:
        return ()
    names = tuple(package.name for package in wanted)
    _Apt(_become_root(names)).install(wanted)
    if still := missing(wanted):
        raise LocalError(
            f"{', '.join(one.name for one in still)}: installed, but its programs are not found"
        )
    return names


def _become_root(names: tuple[str, ...]) -> tuple[str, ...]:
    """What stands before a command that needs root: nothing, or sudo."""
    command = f"apt-get install --no-install-recommends {' '.join(names)}"
    if shutil.which("apt-get") is None:
        raise PackagesMissingError(
            names,
            "there is no apt-get here (Debian and Ubuntu have it)",
            f"# with this system's package manager: {' '.join(names)}",
        )
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") is None:
        raise PackagesMissingError(names, "this user is not root and there is no sudo", command)
    allowed = subprocess.run(("sudo", "-v"), check=False).returncode == 0
    if not allowed:
        raise PackagesMissingError(names, "sudo did not let this user in", f"sudo {command}")
    return ("sudo",)


class _Apt:
    """apt-get, kept from starting anything."""

    def __init__(self, root: tuple[str, ...]) -> None:
        self._root = root

    def install(self, packages: Sequence[Package]) -> None:
        if not any(_LISTS.glob("*_Packages*")):
            self._apt("update")
        units = [unit for one in packages for unit in one.units if not self._known(unit)]
        with self._nothing_starts():
            try:
                self._apt("install", *(one.name for one in packages))
            except LocalError:
                # Lists that are old name versions which the mirror no longer has.
                self._apt("update")
                self._apt("install", *(one.name for one in packages))
        if _SYSTEMD.exists():
            for unit in units:
                self._run("systemctl", "--quiet", "disable", unit)

    def _known(self, unit: str) -> bool:
        """Whether systemd had the service before us; then its state is somebody's decision."""
        return _SYSTEMD.exists() and self._run("systemctl", "cat", unit).returncode == 0

    @contextmanager
    def _nothing_starts(self) -> Iterator[None]:
        # Left in place when somebody has an own policy; the services are disabled either way.
        ours = not _POLICY.exists() or _OURS in _POLICY.read_text(encoding="utf-8")
        if ours:
            self._write(_POLICY, f"#!/bin/sh\n{_OURS}\nexit 101\n", "0755")
        if not _CLUSTERS.exists():
            # Debian would make a cluster "main" on port 5432: a server that nobody asked for.
            self._write(_CLUSTERS, "create_main_cluster = false\n", "0644")
        try:
            yield
        finally:
            if ours:
                self._run("rm", "-f", str(_POLICY))

    def _write(self, file: Path, text: str, mode: str) -> None:
        self._run("install", "-D", "-m", mode, "/dev/stdin", str(file), text=text)

    def _apt(self, *arguments: str) -> None:
        done = self._run(
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-y",
            "-q",
            "--no-install-recommends",
            "-o",
            "DPkg::Lock::Timeout=120",
            "-o",
            "Dpkg::Options::=--force-confold",
            *arguments,
        )
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise LocalError(f"apt-get {' '.join(arguments)} failed:\n{said}")

    def _run(self, *argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*self._root, *argv), input=text, capture_output=True, text=True, check=False
        )
