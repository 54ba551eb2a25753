"""Install the parts of K3s and of charts that manifests depend on.

K3s has a storage class and metrics-server. The kinds of Prometheus come from a chart, whose
repository may not be reachable. The lab takes them from the Go module of the operator.
"""

from __future__ import annotations

import socket
import sys
from functools import partial

from . import netns, shell, storage, toolchain
from .errors import LabError
from .kube import Kube, Object
from .paths import Run
from .processes import Processes
from .waiting import until

#: Client-side apply refuses CRDs because of their size.
_APPLY = ("apply", "--server-side", "--force-conflicts", "-f")
_METRICS_PORT = 4443


def start(run: Run, processes: Processes, kube: Kube) -> None:
    """Create the storage class and the kinds, and start the programs that implement them."""
    kube.apply(storage.storage_class())
    processes.start(
        *("storage", sys.executable, "-m", "lab.storage", run.admin, run.root / "volumes"),
    )
    _metrics_server(run, processes, kube)
    _kinds(run)


def _kinds(run: Run) -> None:
    monitoring = toolchain.source(
        "prometheus-operator", "github.com/prometheus-operator/prometheus-operator"
    )
    kubectl = (toolchain.binary("kubectl"), f"--kubeconfig={run.admin}")
    shell.run(*kubectl, *_APPLY, monitoring / "example/prometheus-operator-crd")


def _metrics_server(run: Run, processes: Processes, kube: Kube) -> None:
    # Autoscalers read the load of pods from it, and are unhealthy without it.
    config = run.kubeconfigs / "admin.conf"
    processes.start(
        "metrics-server",
        toolchain.binary("metrics-server"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--secure-port={_METRICS_PORT}",
        f"--cert-dir={run.root / 'metrics-server-certs'}",
        "--kubelet-insecure-tls",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=15s",
    )
    # If its API were registered before it answers, the API server would publish an incomplete
    # OpenAPI document for a minute, which Argo CD caches.
    until(_listens, "metrics-server listens", seconds=60, check=processes.check)
    kube.apply(*_metrics_api())
    for path in ("/apis/metrics.k8s.io/v1beta1", "/openapi/v3/apis/metrics.k8s.io/v1beta1"):
        until(
            partial(_serves, kube, path),
            f"{path} answers",
            seconds=90,
            check=processes.check,
        )
    until(partial(_serves, kube, "/openapi/v2"), "/openapi/v2 answers", seconds=90)


def _listens() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((netns.NODE_IP, _METRICS_PORT)) == 0


def _serves(kube: Kube, path: str) -> bool:
    try:
        return bool(kube.get(path))
    except LabError:  # the aggregator answers 503 until it has seen the endpoint
        return False


def _metrics_api() -> tuple[Object, ...]:
    reference = {"name": "metrics-server", "namespace": "kube-system"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": reference,
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": _METRICS_PORT}]},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            **reference,
            "labels": {"kubernetes.io/service-name": "metrics-server"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [netns.NODE_IP], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": _METRICS_PORT, "protocol": "TCP"}],
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "service": reference,
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
    return service, endpoints, api
