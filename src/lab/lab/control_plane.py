"""etcd, API server, controller manager and scheduler as processes on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from . import audit, netns, shell, toolchain
from .paths import Run
from .processes import Processes
from .waiting import until

SERVICE_CIDR = "10.96.0.0/16"
CLUSTER_CIDR = "10.244.0.0/16"

#: In stop order. etcd is last, because the API server hangs at its stop without etcd.
PROCESSES = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")

#: Grace period for watches at a stop of the API server, in seconds. The default is a minute,
#: in which no node can report its status. After 50 seconds its pods would count as not ready.
_WATCH_GRACE_SECONDS = 5


def start(run: Run, processes: Processes) -> None:
    """Start all four. Returns when the API server is ready."""
    _etcd(run, processes)
    start_api_server(run, processes, audit.to_file(run))
    _controller_manager(run, processes)
    _scheduler(run, processes)


def _etcd(run: Run, processes: Processes) -> None:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    processes.start(
        "etcd",
        toolchain.binary("etcd"),
        f"--data-dir={run.root / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # the data may be lost with the machine
    )


def start_api_server(run: Run, processes: Processes, more: Sequence[str]) -> None:
    """Start or restart the API server. Returns when it is ready.

    :param more: additional flags.
    """
    processes.stop("kube-apiserver", grace=30)
    _api_server(run, processes, more)
    ready = (toolchain.binary("kubectl"), f"--kubeconfig={run.admin}", "get", "--raw", "/readyz")
    until(
        lambda: shell.succeeds(*ready),
        "the API server is ready",
        seconds=90,
        check=processes.check,
    )


def _api_server(run: Run, processes: Processes, more: Sequence[str]) -> None:
    keys = run.pki
    processes.start(
        "kube-apiserver",
        toolchain.binary("kube-apiserver"),
        "--etcd-servers=http://127.0.0.1:2379",
        "--secure-port=6443",
        "--bind-address=0.0.0.0",
        f"--advertise-address={netns.NODE_IP}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        f"--client-ca-file={keys / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={keys / 'sa.pub'}",
        f"--service-account-signing-key-file={keys / 'sa.key'}",
        f"--kubelet-client-certificate={keys / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={keys / 'apiserver-kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={keys / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={keys / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={keys / 'front-proxy-client.key'}",
        "--enable-aggregator-routing=true",  # metrics-server is an endpoint, not a pod
        "--profiling=false",
        f"--shutdown-watch-termination-grace-period={_WATCH_GRACE_SECONDS}s",
        f"--cert-dir={run.root / 'apiserver-certs'}",
        *more,
    )


def _controller_manager(run: Run, processes: Processes) -> None:
    config = run.kubeconfigs / "controller-manager.conf"
    keys = run.pki
    processes.start(
        "kube-controller-manager",
        toolchain.binary("kube-controller-manager"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--service-account-private-key-file={keys / 'sa.key'}",
        f"--root-ca-file={keys / 'ca.crt'}",
        f"--cluster-signing-cert-file={keys / 'ca.crt'}",
        f"--cluster-signing-key-file={keys / 'ca.key'}",
        f"--requestheader-client-ca-file={keys / 'front-proxy-ca.crt'}",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={CLUSTER_CIDR}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--leader-elect=false",
    )


def _scheduler(run: Run, processes: Processes) -> None:
    config = run.kubeconfigs / "scheduler.conf"
    processes.start(
        "kube-scheduler",
        toolchain.binary("kube-scheduler"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    )
