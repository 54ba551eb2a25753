"""System packages: finds and installs the missing ones.

The installation must not start or enable a service of the system.
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
    """A Debian package, a check for its programs, and its system services."""

    name: str
    present: Callable[[], bool]
    units: tuple[str, ...] = ()


def _program(*names: str) -> Callable[[], bool]:
    # Debian's servers are in /usr/sbin, which is not in the PATH of every user.
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
#: For the tests of the user interface.
BROWSER: Final = (Package("chromium", _program("chromium", "chromium-browser", "google-chrome")),)
#: For the tests of the alert rules: Prometheus with promtool, and the exporters.
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
#: For the tests of alert routes: Alertmanager with amtool.
ALERTMANAGER: Final = (
    Package("prometheus-alertmanager", _program("amtool"), ("prometheus-alertmanager.service",)),
)
#: For the tests of backups to S3.
RCLONE: Final = (Package("rclone", _program("rclone")),)
#: For the tests of the forwarders of Linux audit logs.
SYSLOG_NG: Final = (
    Package(
        "syslog-ng-mod-http",
        lambda: any(Path("/usr/lib/syslog-ng").glob("*/libhttp.so")),
        ("syslog-ng.service",),
    ),
)
#: For the tests of costs: they count instructions, with a library that is compiled from C.
VALGRIND: Final = (Package("valgrind", _program("valgrind")), Package("gcc", _program("cc")))
#: For the tests that run the workflows, whose steps call it.
JQ: Final = (Package("jq", _program("jq")),)
#: All packages that only tests need.
TESTS: Final = (*BROWSER, *PROMETHEUS, *ALERTMANAGER, *RCLONE, *SYSLOG_NG, *VALGRIND, *JQ)

_POLICY: Final = Path("/usr/sbin/policy-rc.d")
#: Marks the policy file of this program, so that the next run removes it after a killed run.
_MARKER: Final = "# AuditFlow, while it installs packages: start no service."
_CLUSTERS: Final = Path("/etc/postgresql-common/createcluster.conf")
_SYSTEMD: Final = Path("/run/systemd/system")
_LISTS: Final = Path("/var/lib/apt/lists")


def missing(packages: Sequence[Package]) -> tuple[Package, ...]:
    """Return the packages with missing programs."""
    return tuple(package for package in packages if not package.present())


def ensure(packages: Sequence[Package] = SERVERS) -> tuple[str, ...]:
    """Install the missing packages. Returns their names.

    Raises:
        PackagesMissingError: this user cannot install them. The text has the command to run.
        LocalError: apt-get failed. The text contains its output.
    """
    wanted = missing(packages)
    if not wanted:
        return ()
    names = tuple(package.name for package in wanted)
    _Apt(_become_root(names)).install(wanted)
    if still := missing(wanted):
        raise LocalError(
            f"{', '.join(package.name for package in still)}: installed, but programs are missing"
        )
    return names


def _become_root(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the prefix of a command that needs root: nothing, or sudo."""
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
        raise PackagesMissingError(names, "this user may not use sudo", f"sudo {command}")
    return ("sudo",)


class _Apt:
    """apt-get that starts no service."""

    def __init__(self, root: tuple[str, ...]) -> None:
        self._root = root

    def install(self, packages: Sequence[Package]) -> None:
        if not any(_LISTS.glob("*_Packages*")):
            self._apt("update")
        units = [unit for package in packages for unit in package.units if not self._known(unit)]
        with self._no_service_starts():
            try:
                self._apt("install", *(package.name for package in packages))
            except LocalError:
                # Outdated package lists name versions that the mirror no longer has.
                self._apt("update")
                self._apt("install", *(package.name for package in packages))
        if _SYSTEMD.exists():
            for unit in units:
                self._run("systemctl", "--quiet", "disable", unit)

    def _known(self, unit: str) -> bool:
        """Return whether systemd had the service before. Then its state is not changed."""
        return _SYSTEMD.exists() and self._run("systemctl", "cat", unit).returncode == 0

    @contextmanager
    def _no_service_starts(self) -> Iterator[None]:
        # An existing policy of the system is kept. The services are disabled in any case.
        is_ours = not _POLICY.exists() or _MARKER in _POLICY.read_text(encoding="utf-8")
        if is_ours:
            self._write(_POLICY, f"#!/bin/sh\n{_MARKER}\nexit 101\n", "0755")
        if not _CLUSTERS.exists():
            # Otherwise Debian creates a cluster "main" with a server on port 5432.
            self._write(_CLUSTERS, "create_main_cluster = false\n", "0644")
        try:
            yield
        finally:
            if is_ours:
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
            output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise LocalError(f"apt-get {' '.join(arguments)} failed:\n{output}")

    def _run(self, *argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*self._root, *argv), input=text, capture_output=True, text=True, check=False
        )
