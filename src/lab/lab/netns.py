"""The network namespace of the cluster. It is isolated from all other networks."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from . import shell

NAME = "auditflow-e2e"

#: The node's address, on a pair of virtual cards whose two ends are both in the namespace.
NODE_IP = "10.200.0.1"
_GATEWAY = "10.200.0.254"
_CLONE_NEWNET = 0x40000000


def path() -> Path:
    """The handle by which other programs may enter: ``nsenter --net=PATH``."""
    return Path("/run/netns") / NAME


def create() -> None:
    """Make the namespace, with a loopback and the node's card."""
    if path().exists():
        return
    shell.run("ip", "netns", "add", NAME)
    for command in (
        "link set lo up",
        "link add node0 type veth peer name node0p",
        f"addr add {NODE_IP}/24 dev node0",
        "link set node0 up",
        "link set node0p up",
        # Nothing answers there. It only makes the kernel find a route for service addresses.
        f"route add default via {_GATEWAY} dev node0",
    ):
        shell.run("ip", "-n", NAME, *command.split())


def enter() -> None:
    """Move this thread, and with it every program and thread that it starts, into the namespace.

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
    """Forget the namespace; the kernel frees it when its last process is gone."""
    if path().exists():
        shell.run("ip", "netns", "del", NAME)
