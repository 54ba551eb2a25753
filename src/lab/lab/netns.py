"""The network namespace of the cluster. It is isolated from all other networks."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from . import shell

NAME = "auditflow-e2e"

#: The address of the node. Both ends of its veth pair are in the namespace.
NODE_IP = "10.200.0.1"
_GATEWAY = "10.200.0.254"
_CLONE_NEWNET = 0x40000000


def path() -> Path:
    """Return the file with which other programs can enter: ``nsenter --net=PATH``."""
    return Path("/run/netns") / NAME


def create() -> None:
    """Create the namespace with a loopback interface and the interface of the node."""
    if path().exists():
        return
    shell.run("ip", "netns", "add", NAME)
    for command in (
        "link set lo up",
        "link add node0 type veth peer name node0p",
        f"addr add {NODE_IP}/24 dev node0",
        "link set node0 up",
        "link set node0p up",
        # Nothing answers there. The kernel needs a route for the addresses of Services.
        f"route add default via {_GATEWAY} dev node0",
    ):
        shell.run("ip", "-n", NAME, *command.split())


def enter() -> None:
    """Move this thread into the namespace, and all programs and threads that it starts.

    ``ip netns exec`` would also mount a new /sys, which hides the control groups from kubelet.
    """
    handle = os.open(path(), os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"could not enter {path()}")
    finally:
        os.close(handle)
    for setting in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
        switch = Path("/proc/sys/net") / setting
        if switch.exists():
            switch.write_text("1")


def delete() -> None:
    """Delete the namespace. The kernel frees it when its last process has ended."""
    if path().exists():
        shell.run("ip", "netns", "del", NAME)
