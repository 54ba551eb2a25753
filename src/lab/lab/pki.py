"""Certificates and kubeconfigs of the cluster. openssl creates them for each run."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import yaml

from . import netns, shell
from .paths import Run

SERVER = "https://127.0.0.1:6443"
NODE = "node1"
SERVICE_IP = "10.96.0.1"
_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_DAYS = "3"


@dataclass(frozen=True)
class Leaf:
    """A certificate: its subject and its names."""

    name: str
    subject: str
    usage: str = "clientAuth"
    names: tuple[str, ...] = ()
    authority: str = "ca"


_KUBERNETES = tuple(
    f"DNS:{name}"
    for name in (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    )
)
LEAVES = (
    Leaf(
        "apiserver",
        "/CN=kube-apiserver",
        "serverAuth",
        (*_KUBERNETES, "IP:127.0.0.1", f"IP:{netns.NODE_IP}", f"IP:{SERVICE_IP}"),
    ),
    Leaf("apiserver-kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client"),
    Leaf("front-proxy-client", "/CN=front-proxy-client", authority="front-proxy-ca"),
    Leaf("admin", "/O=system:masters/CN=admin"),
    Leaf("controller-manager", "/CN=system:kube-controller-manager"),
    Leaf("scheduler", "/CN=system:kube-scheduler"),
    Leaf("proxy", "/CN=system:kube-proxy"),
    Leaf(
        "kubelet",
        f"/O=system:nodes/CN=system:node:{NODE}",
        "clientAuth,serverAuth",
        (f"DNS:{NODE}", f"IP:{netns.NODE_IP}", "IP:127.0.0.1"),
    ),
)
#: The clients of the API server that have a kubeconfig.
CLIENTS = ("admin", "controller-manager", "scheduler", "proxy", "kubelet")


def make(run: Run) -> None:
    """Create two authorities, all certificates, the key of service accounts and the kubeconfigs."""
    for authority in ("ca", "front-proxy-ca"):
        _authority(run.pki, authority)
    for leaf in LEAVES:
        _leaf(run.pki, leaf)
    shell.run("openssl", "genrsa", "-out", run.pki / "sa.key", "2048")
    shell.run("openssl", "rsa", "-in", run.pki / "sa.key", "-pubout", "-out", run.pki / "sa.pub")
    for client in CLIENTS:
        _kubeconfig(run, client)


def person(run: Run, name: str, *groups: str) -> Path:
    """Return the kubeconfig of a further user, with its own certificate."""
    organizations = "".join(f"/O={group}" for group in groups)
    _leaf(run.pki, Leaf(name, f"{organizations}/CN={name}"))
    _kubeconfig(run, name)
    return run.kubeconfigs / f"{name}.conf"


def _authority(folder: Path, name: str) -> None:
    shell.run(
        *("openssl", "req", "-x509", *_EC, "-days", _DAYS, "-subj", f"/CN=auditflow-e2e {name}"),
        *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"),
        *("-addext", "basicConstraints=critical,CA:TRUE"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
    )


def _leaf(folder: Path, leaf: Leaf) -> None:
    extensions = [
        "basicConstraints=CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        f"extendedKeyUsage={leaf.usage}",
    ]
    if leaf.names:
        extensions.append(f"subjectAltName={','.join(leaf.names)}")
    request, text = folder / f"{leaf.name}.csr", folder / f"{leaf.name}.ext"
    text.write_text("\n".join(extensions) + "\n")
    shell.run(
        *("openssl", "req", "-new", *_EC, "-subj", leaf.subject),
        *("-keyout", folder / f"{leaf.name}.key", "-out", request),
    )
    shell.run(
        *("openssl", "x509", "-req", "-in", request, "-days", _DAYS, "-extfile", text),
        *("-CA", folder / f"{leaf.authority}.crt", "-CAkey", folder / f"{leaf.authority}.key"),
        *("-CAcreateserial", "-out", folder / f"{leaf.name}.crt"),
    )


def _kubeconfig(run: Run, client: str) -> None:
    def embedded(name: str) -> str:
        return base64.b64encode((run.pki / name).read_bytes()).decode()

    (run.kubeconfigs / f"{client}.conf").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "e2e",
                        "cluster": {
                            "server": SERVER,
                            "certificate-authority-data": embedded("ca.crt"),
                        },
                    }
                ],
                "users": [
                    {
                        "name": client,
                        "user": {
                            "client-certificate-data": embedded(f"{client}.crt"),
                            "client-key-data": embedded(f"{client}.key"),
                        },
                    }
                ],
                "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": client}}],
                "current-context": "e2e",
            }
        )
    )
