"""Stops pods and programs, and removes mounts, network namespaces and state."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from . import control_plane, netns, node, shell
from .errors import CommandFailed
from .paths import Run
from .processes import Processes

#: A pod's network namespace in containerd's description of the pod.
_POD_NETNS = re.compile(r"/run/netns/(cni-[0-9a-f-]+)")
#: Number of parallel requests to containerd.
_PARALLEL = 8
_LAST = (*node.PROCESSES[::-1], *control_plane.PROCESSES)


def down(run: Run, processes: Processes) -> None:
    """Stop everything of the run, in an order in which nothing restarts."""
    if run.pids.is_dir():
        processes.stop("kubelet")
        pods = _stop_containers() if node.SOCKET.exists() else set()
        for name in processes.names():
            if name not in _LAST:
                processes.stop(name)
        for name in ("kube-proxy", "containerd", *control_plane.PROCESSES):
            processes.stop(name)
        for pod in pods:
            shell.succeeds("ip", "netns", "del", pod)
    _unmount(run)
    netns.delete()
    for folder in (node.STATE, run.root):
        shutil.rmtree(folder, ignore_errors=True)


def _stop_containers() -> set[str]:
    """Stop every container. Returns the network namespaces of their pods.

    They are not found by name, because another containerd uses the same names.
    """
    ctr = ("ctr", "--address", node.SOCKET, "--namespace", "k8s.io")
    if not shell.succeeds(*ctr, "version", timeout=10):
        return set()

    def namespaces_of(container: str) -> list[str]:
        try:
            return _POD_NETNS.findall(shell.run(*ctr, "containers", "info", container))
        except CommandFailed:  # it was removed after the list
            return []

    containers = shell.run(*ctr, "containers", "list", "--quiet").split()
    tasks = shell.run(*ctr, "tasks", "list", "--quiet").split()
    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = set(chain.from_iterable(pool.map(namespaces_of, containers)))
        end = (*ctr, "tasks", "delete", "--force")
        list(pool.map(lambda task: shell.succeeds(*end, task, timeout=20), tasks))
    return found


def _unmount(run: Run) -> None:
    ours = (f"{run.root}/", f"{node.STATE}/")
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    # Nested mounts first.
    for target in sorted((path for path in mounted if path.startswith(ours)), reverse=True):
        shell.succeeds("umount", target)
