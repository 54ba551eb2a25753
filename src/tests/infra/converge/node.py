"""A machine for the roles: Debian with its own systemd, network and processes, by systemd-nspawn.

It shares only the kernel with the host. Its network is separate, so that its firewall does not affect
the host.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
#: What a fresh image of a cloud has, and no more.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "python3", "python3-apt", "openssh-server", "iproute2",
    "procps", "kmod", "ca-certificates", "sudo", "util-linux",
)  # fmt: skip
TOOLS = ("debootstrap", "systemd-nspawn", "unshare", "nsenter", "ip", "ssh-keygen")


@dataclass(frozen=True)
class Node:
    """A running machine, reached by SSH."""

    name: str
    address: str
    root: Path
    key: Path

    def run(self, command: str) -> str:
        """The output of a command on the machine, as root."""
        done = subprocess.run(
            ("ssh", *self.ssh_options, f"root@{self.address}", command),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def ssh_options(self) -> tuple[str, ...]:
        """For ssh: this key, and no memory of machines that come and go."""
        return (
            "-i", str(self.key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
        )  # fmt: skip


def missing() -> list[str]:
    """The programs that this host lacks to run machines, and root if it is not root."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    return lacking if os.geteuid() == 0 else [*lacking, "root"]


def image(cache: Path) -> Path:
    """Debian as a cloud would give it; made once."""
    root = cache / f"debian-{SUITE}"
    if not (root / "usr/sbin/sshd").exists():
        shutil.rmtree(root, ignore_errors=True)
        fresh = cache / f"debian-{SUITE}.fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        subprocess.run(
            ("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE,
             str(fresh), MIRROR),
            check=True, stdout=subprocess.DEVNULL, timeout=1200,
        )  # fmt: skip
        fresh.rename(root)
    return root


@contextmanager
def running(name: str, number: int, *, base: Path, folder: Path, proxy: int) -> Iterator[Node]:
    """A fresh machine, until the end of the block. ``proxy`` is the host's port to the mirror."""
    host, address = f"10.77.{number}.1", f"10.77.{number}.2"
    root, key = folder / name, folder / "id"
    subprocess.run(("cp", "--archive", str(base), str(root)), check=True)
    if not key.exists():
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)), check=True)
    _prepare(root, name, key.with_suffix(".pub").read_text(), f"http://{host}:{proxy}")
    machine = _boot(name, root, folder / f"{name}.log")
    try:
        leader = _leader(machine)
        _connect(name, leader, host, address)
        node = Node(name=name, address=address, root=root, key=key)
        _until_ssh(address)
        yield node
    finally:
        machine.send_signal(signal.SIGTERM)
        try:
            machine.wait(30)
        except subprocess.TimeoutExpired:
            machine.kill()
            machine.wait()
        subprocess.run(("ip", "link", "delete", f"ve-{name}"), check=False, capture_output=True)


def _prepare(root: Path, name: str, public_key: str, proxy: str) -> None:
    (root / "etc/hostname").write_text(f"{name}\n")
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(public_key)
    (root / "etc/apt/apt.conf.d/01proxy").write_text(f'Acquire::http::Proxy "{proxy}";\n')
    (root / "etc/apt/sources.list").write_text(f"deb {MIRROR} {SUITE} main\n")


def _boot(name: str, root: Path, log: Path) -> subprocess.Popen[bytes]:
    # nspawn wants a place of its own under /run, which is no tmpfs everywhere.
    script = (
        "mkdir -p /run/systemd/nspawn && mount -t tmpfs tmpfs /run/systemd/nspawn && "
        f"exec systemd-nspawn --quiet --keep-unit --register=no --boot --network-veth "
        f"--machine={name} --kill-signal=SIGRTMIN+3 -D {shlex.quote(str(root))}"
    )
    with log.open("wb") as output:
        return subprocess.Popen(
            ("unshare", "--mount", "sh", "-c", script), stdout=output, stderr=output,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


def _leader(machine: subprocess.Popen[bytes]) -> int:
    """The first process of the machine: the systemd that is a child of nspawn."""
    for _ in _patience("systemd starts in the machine"):
        assert machine.poll() is None, "systemd-nspawn ended; its log says why"
        children = Path(f"/proc/{machine.pid}/task/{machine.pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
    raise AssertionError


def _connect(name: str, leader: int, host: str, address: str) -> None:
    inside = ("nsenter", f"--net=/proc/{leader}/ns/net")
    for command in (
        ("ip", "address", "replace", f"{host}/24", "dev", f"ve-{name}"),
        ("ip", "link", "set", f"ve-{name}", "up"),
        (*inside, "ip", "address", "replace", f"{address}/24", "dev", "host0"),
        (*inside, "ip", "link", "set", "host0", "up"),
        (*inside, "ip", "route", "replace", "default", "via", host),
    ):
        subprocess.run(command, check=True)


def _until_ssh(address: str) -> None:
    for _ in _patience(f"SSH answers at {address}"):
        try:
            socket.create_connection((address, 22), timeout=2).close()
        except OSError:
            continue
        return


def _patience(what: str, seconds: float = 60) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")
