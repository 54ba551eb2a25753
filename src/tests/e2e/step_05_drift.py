"""Manual changes: Argo CD reverts them in dev and staging, and shows them in prod."""

from __future__ import annotations

import time

import pytest

from lab import argocd, events
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.kube import Kube
from lab.progress import info
from lab.waiting import until

_SERVICE = "notification-service"
_DRIFT = "changed-by-hand"


# prod's bad version and the preview start here; steps 8 and 11 check them.
@pytest.mark.usefixtures("bad_version", "opened_preview")
def test_staging_repairs_itself(delivery: Delivery, staging: Environment) -> None:
    kube = delivery.cluster.kube
    image = staging.image(_SERVICE)
    service = f"/api/v1/namespaces/{staging.namespace}/services/{_SERVICE}"

    # Given an event, which step 7 expects in a file of the archive
    with staging.generator() as client:
        client.post("/generate_event", json=events.file_change(events.ARCHIVED)).raise_for_status()

    # Given someone who changes a Deployment and deletes a Service
    start = time.monotonic()
    _change_image(kube, staging)
    kube.delete(service)

    # Then Argo CD restores both without an action of a person
    def repaired() -> bool:
        assert staging.image(_SERVICE) == image
        assert kube.find(service) is not None, "the Service is not there"
        found = argocd.application(kube, staging.services[_SERVICE])
        assert found.healthy, found
        return True

    until(repaired, "staging is as git says", seconds=120)
    info(f"repaired after {time.monotonic() - start:.1f} s")


def test_prod_shows_it_and_waits(delivery: Delivery, prod: Environment) -> None:
    kube, name = delivery.cluster.kube, prod.services[_SERVICE]
    image = prod.image(_SERVICE)

    # Given the same change in prod
    _change_image(kube, prod)

    # Then Argo CD shows it, and does not touch it
    until(
        lambda: argocd.application(kube, name).sync == "OutOfSync",
        f"{name} is OutOfSync",
        seconds=60,
    )
    assert _DRIFT in prod.image(_SERVICE)

    # And a person's sync puts it back
    with argocd.api(delivery.cluster) as api:
        api.sync(name)
    until(lambda: prod.image(_SERVICE) == image, "prod is as git says", seconds=60)
    argocd.wait_until_healthy(
        kube, lambda found: found == name, f"{name} is Synced and Healthy", seconds=120
    )


def _change_image(kube: Kube, environment: Environment) -> None:
    path = f"/apis/apps/v1/namespaces/{environment.namespace}/deployments/{_SERVICE}"
    containers = kube.get(path)["spec"]["template"]["spec"]["containers"]
    containers[0]["image"] = f"docker.io/library/{_DRIFT}:latest"
    kube.patch(path, {"spec": {"template": {"spec": {"containers": containers}}}})
