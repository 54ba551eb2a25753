"""A Prometheus in the cluster that scrapes the targets of the repository's ServiceMonitors.

A production cluster installs it with a Helm chart. The lab has no Helm repository, so it uses the
manifests and programs of the operator's Go module, with the same addresses.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import yaml

from . import shell, stand_ins, toolchain
from .cluster import Cluster
from .waiting import until

NAMESPACE = "monitoring"
#: The Service that the operator creates. Canary analyses query it.
SERVICE, PORT = "prometheus-operated", 9090
_KUSTOMIZATION = Path(__file__).parent / "monitoring"
_RUNNING = "statefulset/prometheus-prometheus"


def install(cluster: Cluster, folder: Path) -> None:
    """Install it and return when it answers. A given cluster has it already.

    :param folder: for the rendered manifests.
    """
    if not cluster.created_here:
        return
    for name in ("prometheus", "prometheus-operator", "prometheus-config-reloader"):
        stand_in = stand_ins.named(name)
        stand_ins.provide(stand_in, stand_in.image)
    objects = folder / "monitoring.yaml"
    objects.write_text(yaml.safe_dump_all(_render(folder / "monitoring")))
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", objects)
    space = f"--namespace={NAMESPACE}"
    until(
        lambda: shell.succeeds(
            *(cluster.kubectl_program, f"--kubeconfig={cluster.kube.kubeconfig}"),
            *("rollout", "status", _RUNNING, space, "--timeout=5s"),
        ),
        "Prometheus runs",
        seconds=240,
    )


def query(cluster: Cluster, promql: str) -> list[dict[str, Any]]:
    """Run an instant query. Returns samples with ``metric`` and ``value``."""
    found: list[dict[str, Any]] = _ask(cluster, "query", query=promql)["result"]
    return found


def rules(cluster: Cluster) -> dict[str, str]:
    """Return the health of each loaded rule: ``ok``, ``unknown`` or ``err``."""
    groups = _ask(cluster, "rules")["groups"]
    return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}


def _ask(cluster: Cluster, path: str, **parameters: str) -> dict[str, Any]:
    with (
        cluster.service(NAMESPACE, SERVICE, PORT) as address,
        httpx.Client(base_url=f"http://{address}/api/v1/", timeout=10, trust_env=False) as client,
    ):
        answer = client.get(path, params=parameters).raise_for_status()
    found: dict[str, Any] = answer.json()["data"]
    return found


def _render(folder: Path) -> list[dict[str, Any]]:
    module = toolchain.source(
        "prometheus-operator", "github.com/prometheus-operator/prometheus-operator"
    )
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_KUSTOMIZATION, folder)
    shutil.copytree(module / "example" / "rbac", folder / "rbac")
    text = shell.run(toolchain.binary("kustomize"), "build", folder)
    objects = [document for document in yaml.safe_load_all(text) if document]
    for document in objects:
        if document["kind"] == "Prometheus":
            document["spec"]["image"] = stand_ins.named("prometheus").image
    return objects
