"""The preview of a pull request, from the label to the removal. It runs in the background."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from gitops import layout

from . import argocd, releases, traefik
from .bootstrap import BASE, Delivery
from .environment import Environment
from .forge import Forge
from .releases import Version
from .repository import BRANCH
from .waiting import until

NUMBER, OTHER = 7, 8
_NAME = f"preview-{NUMBER}"
_CHANGED = "event-audit-dashboard"
_PATIENCE = 420


@dataclass(frozen=True)
class Preview:
    """The result of the preview."""

    #: From the label to a Healthy preview, and from the end of the pull request to its removal.
    started_seconds: float
    removed_seconds: float
    #: Replicas of each Deployment, and the kinds that scale or protect several replicas.
    replicas: dict[str, int]
    scalers: list[str]
    #: The annotation that only the branch of the pull request has.
    change: str | None
    #: Titles of the rules of the alerts.
    alerts: set[str]
    #: Commit statuses of the pull request, as ``(state, target_url)``.
    statuses: list[tuple[str, str]]
    #: Names of all Applications of previews, while two pull requests were open.
    applications: set[str]
    #: Persistent volumes of the namespace after the removal.
    volumes: list[str]


def open_and_close(delivery: Delivery, forge: Forge) -> Preview:
    """Open a pull request with the label, wait for its preview and its alerts, and close it.

    :param delivery: with its own clone.
    :raises NotInTime: an expected state was not reached.
    """
    cluster, kube = delivery.cluster, delivery.cluster.kube
    # Given a pull request without the label, and the images of another one
    commit = _branch(delivery)
    _publish_images(delivery, commit)
    forge.open(OTHER, branch="other", commit=commit, labels=())

    # When it is opened with the label
    start = time.monotonic()
    forge.open(NUMBER, branch="a-change", commit=commit, labels=("preview",))

    # Then everything runs in a namespace of its own
    environment = Environment(cluster, f"pr-{NUMBER}")

    def healthy() -> bool:
        applications = argocd.applications(kube)
        assert _NAME in applications, "Argo CD has not created the Application yet"
        if kube.find(f"/api/v1/namespaces/{environment.namespace}") is not None:
            traefik.admit_ingresses(cluster, environment.namespace)
        found = applications[_NAME]
        if not found.healthy:
            argocd.refresh_old(kube, [found])
            raise AssertionError(found)
        return True

    until(healthy, f"{_NAME} is healthy", seconds=_PATIENCE, every=1)
    started_seconds = time.monotonic() - start
    names = {name for name in argocd.applications(kube) if name.startswith("preview-")}
    deployments = environment.items("apps/v1/deployments")
    scalers = environment.items("autoscaling/v2/horizontalpodautoscalers")
    scalers += environment.items("policy/v1/poddisruptionbudgets")
    change = environment.get("apps/v1/deployments", _CHANGED)["metadata"]["annotations"].get(BASE)

    # And the attack of the synthetic stream causes alerts, and the pull request shows the address
    found = until(environment.alerts, "an alert about the synthetic attack", seconds=180, every=1)
    statuses = until(
        lambda: [each for each in _statuses(forge, commit) if each[0] == "success"],
        "the commit has the status success",
        seconds=120,
        every=1,
    )

    # When it is closed, then nothing remains
    start = time.monotonic()
    forge.close(NUMBER)

    def removed() -> bool:
        assert _NAME not in argocd.applications(kube), f"the Application {_NAME} exists"
        space = kube.find(f"/api/v1/namespaces/{environment.namespace}")
        assert space is None, f"the namespace {environment.namespace} exists"
        return True

    until(removed, f"{_NAME} is removed", seconds=180, every=1)
    return Preview(
        started_seconds=started_seconds,
        removed_seconds=time.monotonic() - start,
        replicas={item["metadata"]["name"]: item["spec"]["replicas"] for item in deployments},
        scalers=[item["metadata"]["name"] for item in scalers],
        change=change,
        alerts={alert["rule"]["title"] for alert in found},
        statuses=statuses,
        applications=names,
        volumes=_volumes(delivery, environment.namespace),
    )


def _branch(delivery: Delivery) -> str:
    """Push the branch of the pull request. Returns its commit."""
    repository = delivery.repository
    delivery.annotate_base(_CHANGED, f"pull request {NUMBER}")
    repository.git("add", "--all")
    repository.git("commit", "-q", "-m", "A change of the dashboard")
    repository.git("push", "-q", "--force", "origin", "HEAD:refs/heads/a-change")
    commit = repository.head()
    repository.git("reset", "-q", "--hard", f"origin/{BRANCH}")
    return commit


def _publish_images(delivery: Delivery, commit: str) -> None:
    """Push the images as the workflow "Preview" does."""
    cluster = delivery.cluster
    for service in layout.SERVICES:
        releases.push_as(
            cluster.builder, service, Version.BUILT, f"preview-{commit}", cluster.registry
        )


def _statuses(forge: Forge, commit: str) -> list[tuple[str, str]]:
    found: list[dict[str, Any]] = forge.statuses.get(commit, [])
    return [(each["state"], each["target_url"]) for each in found if each["context"] == "preview"]


def _volumes(delivery: Delivery, namespace: str) -> list[str]:
    """Wait until no volume of a claim in the namespace remains. Returns those that remain."""

    def remaining() -> list[str]:
        return [
            volume["metadata"]["name"]
            for volume in delivery.cluster.kube.items("/api/v1/persistentvolumes")
            if volume["spec"].get("claimRef", {}).get("namespace") == namespace
        ]

    def none_left() -> bool:
        assert not remaining(), remaining()
        return True

    until(none_left, f"the volumes of {namespace} are deleted", seconds=60, every=1)
    return remaining()
