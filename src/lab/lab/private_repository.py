"""Makes the served repository private: only SSH with a deploy key reads it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import yaml

from . import shell, sshserver
from .bootstrap import Delivery
from .cluster import Cluster

_ADDRESS = Path("clusters/repository/repository.yaml")
_ARGO_CD = Path("bootstrap/argocd/kustomization.yaml")
_METRICS = Path("apps/platform/delivery-metrics/deployment.yaml")
_KNOWN_HOSTS = "settings/argocd-ssh-known-hosts-cm.yaml"
_PROCESS = "ssh-git"


class PrivateRepository:
    """The SSH server of the repository, which accepts no key yet."""

    def __init__(self, delivery: Delivery, folder: Path) -> None:
        """Start the server.

        :param folder: for the keys.
        """
        cluster = delivery.cluster
        self._delivery = delivery
        self._authorized_keys = folder / "authorized_keys"
        self._host_key = folder / "host-key"
        shell.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._host_key)
        # Only another key has access. OpenSSH then reports "Permission denied (publickey)".
        shutil.copy(self._host_key.with_suffix(".pub"), self._authorized_keys)
        address = cluster.host if cluster.created_here else "0.0.0.0"
        cluster.processes.stop(_PROCESS)  # of an earlier run of this step
        cluster.processes.start(
            *(_PROCESS, sys.executable, "-m", "lab.sshserver", cluster.git_root, address),
            *(str(sshserver.PORT), self._host_key, self._authorized_keys),
        )

    @property
    def url(self) -> str:
        """The address of the repository."""
        name = self._delivery.repository.bare.name
        return f"ssh://git@{self._delivery.cluster.host}:{sshserver.PORT}/{name}"

    def accept(self, public_key: Path) -> None:
        """Add a deploy key, as a person does in the settings of a forge."""
        self._authorized_keys.write_text(public_key.read_text())

    def write_host_key(self) -> None:
        """Add the host key to the settings of Argo CD in the clone. Nothing is committed."""
        work = self._delivery.repository.work
        kind, key = self._host_key.with_suffix(".pub").read_text().split()[:2]
        known = f"[{self._delivery.cluster.host}]:{sshserver.PORT} {kind} {key}\n"
        (work / "bootstrap/argocd" / _KNOWN_HOSTS).write_text(_known_hosts(known))
        argo_cd = yaml.safe_load((work / _ARGO_CD).read_text())
        argo_cd["patches"].append({"path": _KNOWN_HOSTS})
        (work / _ARGO_CD).write_text(yaml.safe_dump(argo_cd, sort_keys=False))

    def write_address(self) -> None:
        """Set the address in the clone. Nothing is committed."""
        work = self._delivery.repository.work
        address = yaml.safe_load((work / _ADDRESS).read_text())
        old, address["data"]["repoURL"] = address["data"]["repoURL"], self.url
        (work / _ADDRESS).write_text(yaml.safe_dump(address, sort_keys=False))
        metrics = work / _METRICS
        metrics.write_text(metrics.read_text().replace(old, self.url))


def close_http(cluster: Cluster) -> None:
    """Stop the server without authentication."""
    cluster.processes.stop("git")


def _known_hosts(lines: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "argocd-ssh-known-hosts-cm"},
            "data": {"ssh_known_hosts": lines},
        }
    )
