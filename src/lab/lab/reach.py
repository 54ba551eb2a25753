"""Access to a Service of the cluster from a test."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError
from .kube import Kube

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@contextmanager
def service(
    kube: Kube, *, kubectl: Path | str, namespace: str, name: str, port: int, direct: bool
) -> Iterator[str]:
    """Yield ``HOST:PORT`` of a Service.

    :param direct: this process is in the cluster's network, so the Service's own address works and
        requests are balanced over its pods. Otherwise kubectl forwards a port to one pod.
    """
    if direct:
        address = kube.get(f"/api/v1/namespaces/{namespace}/services/{name}")["spec"]["clusterIP"]
        if address == "None":  # a headless Service is the addresses of its pods
            address = _pod_behind(kube, namespace, name)
        yield f"{address}:{port}"
        return
    forward = subprocess.Popen(
        [
            *(str(kubectl), f"--kubeconfig={kube.kubeconfig}", f"--namespace={namespace}"),
            *("port-forward", f"service/{name}", f":{port}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = forward.stdout.readline() if forward.stdout else ""
        found = _FORWARDING.match(line)
        if found is None:
            raise LabError(f"kubectl could not forward a port to {namespace}/{name}: {line}")
        yield f"127.0.0.1:{found[1]}"
    finally:
        forward.terminate()
        forward.wait()


def _pod_behind(kube: Kube, namespace: str, service: str) -> str:
    for slice_ in kube.items(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
        labelSelector=f"kubernetes.io/service-name={service}",
    ):
        for endpoint in slice_["endpoints"] or []:
            if endpoint["conditions"].get("ready"):
                address: str = endpoint["addresses"][0]
                return address
    raise LabError(f"no pod is ready behind {namespace}/{service}")
