"""A deleted namespace is restored, and its alerts are restored from the backup."""

from __future__ import annotations

from lab import argocd, events
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.kube import Kube
from lab.waiting import until

_ACTOR = "mallory-of-the-disaster"
_BACKUPS = "postgres-backup"
_RESTORE = "apps/data/postgres/restore"
_PATIENCE = 420


def test_a_deleted_namespace_is_restored_with_its_alerts(
    delivery: Delivery, staging: Environment
) -> None:
    kube = delivery.cluster.kube

    # Given an alert in staging, and a backup that has it
    with staging.generator() as client:
        client.post("/generate_event", json=events.file_change(_ACTOR)).raise_for_status()
    until(lambda: events.counts(staging.alerts(), _ACTOR), "the alert is there", seconds=60)
    _back_up(delivery, staging)

    # When someone deletes the namespace
    path = f"/api/v1/namespaces/{staging.namespace}"
    identity = kube.get(path)["metadata"]["uid"]
    kube.delete(path)
    until(lambda: _is_deleted(kube, staging, identity), "the namespace is gone", seconds=180)

    # Then Argo CD restores all that was in it
    argocd.wait_until_healthy(
        kube,
        lambda name: name.startswith(f"{staging.name}-"),
        "staging is healthy",
        seconds=_PATIENCE,
    )
    assert not events.counts(staging.alerts(), _ACTOR)

    # And the backup, whose volume outlived the namespace, brings back the alerts
    _suspend_backups(kube, staging, suspend=True)
    _hand_over_the_backups(kube, staging)
    _restore(delivery, staging)
    until(
        lambda: events.counts(staging.alerts(), _ACTOR) == {_ACTOR: 1},
        "the alert of before is there",
        seconds=60,
    )
    _suspend_backups(kube, staging, suspend=False)


def _is_deleted(kube: Kube, environment: Environment, identity: str) -> bool:
    # Argo CD recreates the namespace at once. Therefore its identity is compared.
    found = kube.find(f"/api/v1/namespaces/{environment.namespace}")
    return found is None or found["metadata"]["uid"] != identity


def _back_up(delivery: Delivery, environment: Environment) -> None:
    space = f"--namespace={environment.namespace}"
    kubectl = delivery.cluster.kubectl
    kubectl("create", "job", "before-the-disaster", "--from=cronjob/postgres-backup", space)
    kubectl("wait", "--for=condition=Complete", "--timeout=120s", "job/before-the-disaster", space)


def _suspend_backups(kube: Kube, environment: Environment, *, suspend: bool) -> None:
    path = f"/apis/batch/v1/namespaces/{environment.namespace}/cronjobs/{_BACKUPS}"
    kube.patch(path, {"spec": {"suspend": suspend}})


def _hand_over_the_backups(kube: Kube, environment: Environment) -> None:
    """Give the old volume to the new claim: forget the identity of the claim that is gone."""
    for volume in kube.items("/api/v1/persistentvolumes"):
        claim = volume["spec"].get("claimRef", {})
        applications = (claim.get("namespace"), claim.get("name")) == (
            environment.namespace,
            _BACKUPS,
        )
        if applications and volume["status"]["phase"] == "Released":
            forget = {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}}
            name = volume["metadata"]["name"]
            kube.patch(f"/api/v1/persistentvolumes/{name}", forget)
            claim_path = f"/api/v1/namespaces/{environment.namespace}/persistentvolumeclaims"
            kube.patch(f"{claim_path}/{_BACKUPS}", {"spec": {"volumeName": name}})
            return
    raise AssertionError("the volume with the backups is not there")


def _restore(delivery: Delivery, environment: Environment) -> None:
    space = f"--namespace={environment.namespace}"
    kubectl = delivery.cluster.kubectl
    kubectl("apply", space, "-k", delivery.repository.work / _RESTORE)
    kubectl("wait", "--for=condition=Complete", "--timeout=120s", "job/postgres-restore", space)
