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
#: containerd's filter for the containers that hold a pod's namespaces.
_PODS = 'labels."io.cri-containerd.kind"==sandbox'
#: Number of parallel requests to containerd.
_PARALLEL = 8
#: Programs whose data are deleted afterwards need no longer time to end, in seconds.
_GRACE = 0.5
_LAST = (*node.PROCESSES[::-1], *control_plane.PROCESSES)


def down(run: Run, processes: Processes) -> None:
    """Stop everything of the run, in an order in which nothing restarts."""
    if run.pids.is_dir():
        processes.stop("kubelet")
        pods = _stop_containers() if node.SOCKET.exists() else set()
        for name in processes.names():
            if name not in _LAST:
                processes.stop(name)
        processes.stop("containerd")
        for name in ("kube-proxy", *control_plane.PROCESSES):
            processes.stop(name, grace=_GRACE)
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

    pods = shell.run(*ctr, "containers", "list", "--quiet", _PODS).split()
    tasks = shell.run(*ctr, "tasks", "list", "--quiet").split()
    end = (*ctr, "tasks", "delete", "--force")
    # One program for several tasks, because its start takes as long as the end of a task.
    groups = [tasks[start::_PARALLEL] for start in range(min(_PARALLEL, len(tasks)))]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = set(chain.from_iterable(pool.map(namespaces_of, pods)))
        list(pool.map(lambda group: shell.succeeds(*end, *group, timeout=60), groups))
    return found


def _unmount(run: Run) -> None:
    ours = (f"{run.root}/", f"{node.STATE}/")
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    # Nested mounts first.
    for target in sorted((path for path in mounted if path.startswith(ours)), reverse=True):
        shell.succeeds("umount", target)
