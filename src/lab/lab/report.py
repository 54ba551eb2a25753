"""Collects Applications, events, pods and logs after a failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import yaml

from . import argocd, paths
from .cluster import Cluster
from .errors import LabError
from .progress import info

_POD_LOG_LINES = 400


def collect(cluster: Cluster, name: str) -> Path:
    """Write everything to ``reports/e2e/NAME``. Ignores what is not available."""
    folder = paths.REPORTS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file, content in {
        "applications.txt": lambda: _applications(cluster),
        "applications.yaml": lambda: cluster.kubectl(
            "get", "applications,appprojects", "--namespace", argocd.NAMESPACE, "--output", "yaml"
        ),
        "objects.txt": lambda: cluster.kubectl(
            "get", "all,pvc,hpa,job,networkpolicy", "--all-namespaces", "--output", "wide"
        ),
        "events.txt": lambda: cluster.kubectl(
            "get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"
        ),
        "pods.txt": lambda: cluster.kubectl("describe", "pods", "--all-namespaces"),
    }.items():
        _write(folder / file, content)
    _pod_logs(cluster, folder / "pods")
    (folder / "processes").mkdir()
    for log in cluster.logs.glob("*.log"):
        shutil.copy(log, folder / "processes")
    info(f"logs and objects are in {folder.relative_to(paths.REPOSITORY)}")
    return folder


def _applications(cluster: Cluster) -> str:
    found = argocd.applications(cluster.kube).values()
    return "".join(f"{application}\n" for application in sorted(found, key=str))


def _pod_logs(cluster: Cluster, folder: Path) -> None:
    folder.mkdir()
    for pod in cluster.kube.items("/api/v1/pods"):
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        for status in pod["status"].get("containerStatuses", []):
            for previous in (False, True) if status["restartCount"] else (False,):
                suffix = "-previous" if previous else ""
                text = cluster.kube.text(
                    f"/api/v1/namespaces/{namespace}/pods/{name}/log",
                    container=status["name"],
                    tailLines=_POD_LOG_LINES,
                    previous=str(previous).lower(),
                )
                (folder / f"{namespace}-{name}-{status['name']}{suffix}.log").write_text(text)


def _write(file: Path, content: Callable[[], str]) -> None:
    try:
        file.write_text(content())
    except (LabError, yaml.YAMLError) as error:
        file.write_text(f"not available: {error}\n")
