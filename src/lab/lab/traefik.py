"""Stands in for Traefik: its CRDs, and the address in the status of each Ingress.

Argo CD waits for this address. Requests are not routed: tests connect to the Services.
"""

from __future__ import annotations

import json
from pathlib import Path

from . import toolchain
from .cluster import Cluster

VERSION = "3.5.3"
_MODULE = "github.com/traefik/traefik/v3"
_KINDS = Path("docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml")
_ADDRESS = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}


def install_kinds(cluster: Cluster) -> None:
    """Create Traefik's CRDs if the cluster does not have them."""
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    if cluster.kube.find(f"{crds}/middlewares.traefik.io") is None:
        file = toolchain.download(_MODULE, VERSION) / _KINDS
        cluster.kubectl("apply", "--server-side", "--filename", file)


def admit_ingresses(cluster: Cluster, namespace: str) -> None:
    """Write an address into the status of each Ingress that has none, as Traefik does."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses"
    for ingress in cluster.kube.items(path):
        if not ingress.get("status", {}).get("loadBalancer", {}).get("ingress"):
            cluster.kubectl(
                *("patch", "ingress", ingress["metadata"]["name"], f"--namespace={namespace}"),
                *("--subresource=status", "--type=merge", f"--patch={json.dumps(_ADDRESS)}"),
            )
