"""The Debian packages that the lab runs on: container runtime, network plugins, image builder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import shell
from .errors import MissingPrerequisite
from .progress import step

#: The packages, each with a file that shows that it is installed.
NEEDED = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iproute2": "/usr/sbin/ip",
    "iptables": "/usr/sbin/iptables",
    "nftables": "/usr/sbin/nft",
    "conntrack": "/usr/sbin/conntrack",
    "buildah": "/usr/bin/buildah",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "catatonit": "/usr/bin/catatonit",
    "docker-registry": "/usr/bin/docker-registry",
    "busybox-static": "/usr/bin/busybox",
    "git": "/usr/bin/git",
    "openssl": "/usr/bin/openssl",
    "openssh-client": "/usr/bin/ssh-keygen",
}

#: A daemon's package starts the daemon unless this file forbids it.
_POLICY = Path("/usr/sbin/policy-rc.d")


def install() -> None:
    """Install the missing packages.

    :raises MissingPrerequisite: the user is not root, or there is no apt-get.
    """
    if os.geteuid() != 0:
        raise MissingPrerequisite(
            "starting a cluster needs root: run as root, or give KUBECONFIG to use a cluster"
        )
    missing = [name for name, program in NEEDED.items() if not Path(program).exists()]
    if not missing:
        return
    if not Path("/usr/bin/apt-get").exists():
        raise MissingPrerequisite(f"install these and run again: {' '.join(missing)}")
    with step(f"installing {' '.join(missing)}"), _no_daemons():
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600")
        shell.run(*apt, "update", env=quiet)
        shell.run(*apt, "install", "--no-install-recommends", *missing, env=quiet)


@contextmanager
def _no_daemons() -> Iterator[None]:
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
