"""A deleted namespace is restored, with its alerts and its archive from the backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from lab import argocd, events, pages
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.kube import Kube
from lab.waiting import until

_ACTOR = "mallory-of-the-disaster"
_BACKUPS = "postgres-backup"
_RESTORE = "apps/data/postgres/restore"
_PAGE = "docs/how-to/keep-archived-events.md"
_PATIENCE = 420


def test_a_deleted_namespace_is_restored_with_its_alerts_and_events(
    delivery: Delivery, staging: Environment, tmp_path: Path
) -> None:
    kube = delivery.cluster.kube
    copy_files, restore_archive = pages.commands(_PAGE, "## Restore the archive")
    variables = {"NS": staging.namespace, "FILES": str(tmp_path / "files.tar")}

    # Given an alert in staging, and a backup that has it
    with staging.generator() as client:
        client.post("/generate_event", json=events.file_change(_ACTOR)).raise_for_status()
    until(lambda: events.counts(staging.alerts(), _ACTOR), "the alert is there", seconds=60)
    # And an event in a file of the archive. Step 5 posted it, because a file is written each minute.
    proof = until(lambda: _proof(staging), "the event of step 5 is in a file", seconds=60)
    _back_up(delivery, staging)
    pages.run(delivery.cluster, copy_files, env=variables)

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

    # And the commands of the page bring back the archive
    pages.run(delivery.cluster, f"cd {delivery.repository.work}\n{restore_archive}", env=variables)
    restored = until(lambda: _proof(staging), "the event of step 5 is in its file", seconds=60)
    for name in ("event_id", "received_ms", "record"):  # its file may have been merged
        assert restored[name] == proof[name]
    _suspend_backups(kube, staging, suspend=False)


def _proof(environment: Environment) -> dict[str, Any]:
    """The proof that the event of step 5 is in a file of the archive."""
    with environment.archive() as client:
        try:
            listed = client.get("/api/v1/events", params={"user": events.ARCHIVED})
            assert listed.status_code == httpx.codes.OK, listed.text
            (event,) = listed.json()["events"] or [None]
            assert event is not None, "the archive does not have the event"
            answer = client.get("/api/v1/events/proof", params={"event_id": event["event_id"]})
        except httpx.TransportError as error:
            raise AssertionError(error) from None
    assert answer.status_code == httpx.codes.OK, answer.text
    proof: dict[str, Any] = answer.json()
    return proof


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
