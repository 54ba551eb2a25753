"""The audit log of the API server: policy, file and webhook, as on the nodes of the repository.

The flags are read from the files that Ansible installs on a node. Only the paths differ.
"""

from __future__ import annotations

from pathlib import Path

import jinja2
import yaml

from . import paths
from .paths import Run

_ROLE = paths.REPOSITORY / "infra" / "ansible" / "roles" / "k3s_server"
_ON_A_NODE = Path("/etc/rancher/k3s/audit")
_LOG_ON_A_NODE = "/var/log/kubernetes/audit/audit.log"


def to_file(run: Run) -> list[str]:
    """Return the flags that each server of a cluster has from its first start."""
    return _flags("20-audit.yaml", run)


def to_webhook(run: Run, *, address: str, token: str) -> list[str]:
    """Write the webhook's configuration and return the flags of the API server that use it.

    :param address: ``HOST:PORT`` of the service that receives the records. It is no name of the
        cluster's DNS, which a node does not use.
    """
    template = (_ROLE / "templates" / "audit" / "webhook.yaml.j2").read_text()
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)
    text = environment.from_string(template)
    _webhook(run).write_text(
        text.render(
            ansible_managed="Made by the lab.",
            k3s_server_audit_address=address,
            k3s_server_audit_token=token,
        )
    )
    return _flags("21-audit-webhook.yaml", run)


def _flags(name: str, run: Run) -> list[str]:
    configuration = yaml.safe_load((_ROLE / "files" / "config.yaml.d" / name).read_text())
    local_paths = {
        str(_ON_A_NODE / "policy.yaml"): str(_ROLE / "files" / "audit" / "policy.yaml"),
        str(_ON_A_NODE / "webhook.yaml"): str(_webhook(run)),
        _LOG_ON_A_NODE: str(run.logs / "audit.log"),
    }
    flags = []
    for flag in configuration["kube-apiserver-arg+"]:
        key, _, value = flag.partition("=")
        flags.append(f"--{key}={local_paths.get(value, value)}")
    return flags


def _webhook(run: Run) -> Path:
    return run.root / "audit-webhook.yaml"
