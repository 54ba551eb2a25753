"""CoreDNS, at the address that kubelet configures in pods."""

from __future__ import annotations

from . import netns, toolchain
from .kube import Kube
from .paths import Run
from .processes import Processes

DNS_IP = "10.96.0.10"


def start(run: Run, processes: Processes, kube: Kube) -> None:
    """Start CoreDNS and create its Service."""
    corefile = run.root / "Corefile"
    corefile.write_text(
        f""".:53 {{
  bind {netns.NODE_IP}
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {run.admin} e2e
    pods insecure
    ttl 5
  }}
  cache 5
}}
"""
    )
    processes.start("coredns", toolchain.binary("coredns"), "-conf", corefile)
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {"k8s-app": "kube-dns"},
            },
            "spec": {
                "clusterIP": DNS_IP,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns-host",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [netns.NODE_IP], "conditions": {"ready": True}}],
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    )
