"""Enables the optional parts of the delivery in the lab, with the fake forge in place of GitHub.

They are the promoter, the previews and the delivery metrics.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml

from . import argocd
from .cluster import Cluster
from .forge import Forge
from .kube import Object
from .waiting import until

#: The times of the promoter in the lab, in seconds. The period is long enough for a busy machine.
SOAK_SECONDS = 20
PERIOD_SECONDS = 10
_PULL_REQUESTS_EVERY = 5
_OPTIONAL = ("promoter", "previews", "delivery-metrics")
#: The optional parts that need a token, in a Secret of their name.
_WITH_TOKEN = ("promoter", "previews")
_ARGO_CD = Path("bootstrap/argocd/kustomization.yaml")
_STATUSES = Path("bootstrap/argocd/previews/notifications.yaml")
_PREVIEWS = Path("clusters/previews/application-set.yaml")
_PROMOTER = Path("apps/platform/promoter/deployment.yaml")
_METRICS = Path("apps/platform/delivery-metrics/deployment.yaml")
_GITHUB = "https://api.github.com"


def enable(work: Path, root: Path, *, forge_url: str, repository_url: str) -> None:
    """Enable all of them in a clone, as their pages describe. Nothing is committed.

    :param root: the folder of the cluster, below the clone.
    """
    cluster = work / root / "kustomization.yaml"
    text = cluster.read_text()
    for name in _OPTIONAL:
        commented = f"# - ../{name} "
        if commented not in text:
            raise ValueError(f"{root} has no commented line for {name}")
        text = text.replace(commented, f"- ../{name} ")
    cluster.write_text(text)
    argo_cd = work / _ARGO_CD
    argo_cd.write_text(argo_cd.read_text() + "components: [previews]\n")
    _replace(work / _STATUSES, f"url: {_GITHUB}", f"url: {forge_url}")
    previews = yaml.safe_load((work / _PREVIEWS).read_text())
    generator = previews["spec"]["generators"][0]["pullRequest"]
    generator["github"]["api"] = f"{forge_url}/"
    generator["requeueAfterSeconds"] = _PULL_REQUESTS_EVERY
    (work / _PREVIEWS).write_text(yaml.safe_dump(previews, sort_keys=False))
    promoter = {
        "FORGE_API_URL": forge_url,
        "SOAK_SECONDS": str(SOAK_SECONDS),
        "PERIOD_SECONDS": str(PERIOD_SECONDS),
    }
    _set_variables(work / _PROMOTER, 0, promoter)
    _set_variables(work / _METRICS, 1, {"REPOSITORY": repository_url})


def _set_variables(file: Path, container: int, variables: dict[str, str]) -> None:
    """Set variables of a container of a Deployment."""
    deployment = yaml.safe_load(file.read_text())
    found = deployment["spec"]["template"]["spec"]["containers"][container]
    merged = {entry["name"]: entry["value"] for entry in found["env"]} | variables
    found["env"] = [{"name": name, "value": value} for name, value in merged.items()]
    file.write_text(yaml.safe_dump(deployment, sort_keys=False))


def create_tokens(cluster: Cluster, forge: Forge) -> None:
    """Create the Secrets with the tokens of the forge, as the pages describe."""
    for name in _WITH_TOKEN:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": argocd.NAMESPACE},
            "stringData": {"token": forge.token},
        }
        cluster.kube.apply(secret)
    path = f"/api/v1/namespaces/{argocd.NAMESPACE}/secrets/argocd-notifications-secret"
    encoded = base64.b64encode(forge.token.encode()).decode()
    cluster.kube.patch(path, {"data": {"forge-token": encoded}})


def state(cluster: Cluster, environment: str) -> dict[str, Any]:
    """Return the stored state of the promoter for an environment. Empty before its first run."""
    path = f"/api/v1/namespaces/{argocd.NAMESPACE}/configmaps/promoter-{environment}"
    found: Object = cluster.kube.find(path) or {"data": {"state": "{}"}}
    stored: dict[str, Any] = json.loads(found["data"]["state"])
    return stored


def wait_until_not_ready(cluster: Cluster, environment: str) -> None:
    """Wait until the promoter has seen that the environment is not ready."""

    def seen() -> bool:
        stored = state(cluster, environment)
        assert stored, "no observation yet"
        assert stored["since"] is None, f"ready since {stored['since']}"
        return True

    until(seen, f"the promoter sees that {environment} is not ready", seconds=60, every=1)


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    if old not in text:
        raise ValueError(f"{file} does not contain {old!r}")
    file.write_text(text.replace(old, new))
