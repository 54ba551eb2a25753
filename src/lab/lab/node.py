"""containerd, kubelet and kube-proxy: the only node of the cluster, in this network namespace."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import yaml

from . import netns, pki, registry, shell, toolchain
from .control_plane import CLUSTER_CIDR
from .dns import DNS_IP
from .paths import Run
from .processes import Processes
from .waiting import until

POD_CIDR = "10.244.0.0/24"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
#: Paths of Unix sockets have a maximum length, so the socket is not in the folder of the run.
STATE = Path("/run/auditflow-e2e")
SOCKET = STATE / "containerd.sock"

#: In stop order. kubelet is first, because it restarts programs that ended.
PROCESSES = ("kubelet", "kube-proxy", "containerd")


def start(run: Run, processes: Processes) -> None:
    """Start the node's three programs; return when the node is Ready."""
    STATE.mkdir(exist_ok=True)
    _containerd(run, processes)
    _kubelet(run, processes)
    _kube_proxy(run, processes)
    ready = (
        *(toolchain.binary("kubectl"), f"--kubeconfig={run.admin}"),
        *("wait", "--for=condition=Ready", "--timeout=1s", f"node/{pki.NODE}"),
    )
    until(
        lambda: shell.succeeds(*ready),
        "the node is Ready",
        seconds=90,
        check=processes.check,
    )


def _containerd(run: Run, processes: Processes) -> None:
    folder = run.root / "containerd"
    networks, mirrors = run.root / "cni", folder / "certs.d"
    for path in (folder, networks, mirrors / "_default"):
        path.mkdir(parents=True, exist_ok=True)
    (mirrors / "_default" / "hosts.toml").write_text(registry.mirror_of_everything())
    (networks / "10-e2e.conflist").write_text(json.dumps(_network(run)))
    config = folder / "config.toml"
    config.write_text(
        f"""version = 2
root = "{folder / "root"}"
state = "{STATE / "containerd"}"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # A virtual machine may lack CAP_SYS_RESOURCE; runc then dies of a lower score with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{mirrors}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "/usr/sbin/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{networks}"
"""
    )
    processes.start("containerd", "/usr/bin/containerd", "--config", config)
    until(
        lambda: shell.succeeds("ctr", "-a", SOCKET, "version"),
        "containerd answers",
        seconds=30,
        check=processes.check,
    )


def _network(run: Run) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(run.root / "cni-ipam"),
            "ranges": [[{"subnet": POD_CIDR}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "e2e", "plugins": [bridge, ports]}


def _kubelet(run: Run, processes: Processes) -> None:
    folder = run.root / "kubelet"
    folder.mkdir(exist_ok=True)
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {DNS_IP}\n")
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "failCgroupV1": False,
                "cgroupDriver": "cgroupfs",
                "containerRuntimeEndpoint": f"unix://{SOCKET}",
                "authentication": {
                    "anonymous": {"enabled": False},
                    "webhook": {"enabled": True},
                    "x509": {"clientCAFile": str(run.pki / "ca.crt")},
                },
                "authorization": {"mode": "Webhook"},
                "tlsCertFile": str(run.pki / "kubelet.crt"),
                "tlsPrivateKeyFile": str(run.pki / "kubelet.key"),
                "clusterDomain": "cluster.local",
                "clusterDNS": [DNS_IP],
                "resolvConf": str(resolv),
                "failSwapOn": False,
                "oomScoreAdj": 0,
                "maxOpenFiles": min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1_000_000),
                "nodeStatusUpdateFrequency": "5s",
                # A changed Secret reaches its pods after this time; the rotation step waits for it.
                "syncFrequency": "20s",
                "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
                "imageGCHighThresholdPercent": 99,
                "imageGCLowThresholdPercent": 98,
                "serializeImagePulls": False,
                "maxPods": 110,
                "podLogsDir": str(run.logs / "pods"),
            }
        )
    )
    processes.start(
        "kubelet",
        toolchain.binary("kubelet"),
        f"--config={config}",
        f"--kubeconfig={run.kubeconfigs / 'kubelet.conf'}",
        f"--root-dir={folder / 'root'}",
        f"--hostname-override={pki.NODE}",
        f"--node-ip={netns.NODE_IP}",
    )


def _kube_proxy(run: Run, processes: Processes) -> None:
    # kube-proxy watches this file and exits when it changes: it is written before the start.
    config = run.root / "kube-proxy.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "nftables",
                "clientConnection": {"kubeconfig": str(run.kubeconfigs / "proxy.conf")},
                "clusterCIDR": CLUSTER_CIDR,
                "hostnameOverride": pki.NODE,
                "healthzBindAddress": "127.0.0.1:10256",
                "metricsBindAddress": "127.0.0.1:10249",
                "conntrack": {"maxPerCore": 0},
            }
        )
    )
    processes.start("kube-proxy", toolchain.binary("kube-proxy"), f"--config={config}")
