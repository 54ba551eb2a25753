"""The commands of docs/how-to/remove-everything.md remove an environment, and report what remains."""

from __future__ import annotations

import pytest

from lab import argocd, pages
from lab.bootstrap import ROOT, Delivery
from lab.environment import Environment
from lab.waiting import until


@pytest.mark.usefixtures("all_steps")
def test_an_environment_is_removed_by_the_commands_of_its_page(
    delivery: Delivery, dev: Environment
) -> None:
    kube = delivery.cluster.kube
    delete, report = pages.commands("docs/how-to/remove-everything.md", "**One environment.**")

    # When the line of the environment is removed, and the commit is merged
    file = delivery.repository.work / ROOT / "kustomization.yaml"
    file.write_text(file.read_text().replace("- dev.yaml\n", ""))
    delivery.deliver("Remove dev", "cluster")
    until(
        lambda: "dev" not in argocd.applications(kube),
        "the root Application of dev does not exist",
        seconds=60,
        every=1,
    )

    # Then everything still runs
    assert set(dev.services.values()) <= argocd.applications(kube).keys()

    # When the commands of the page are run, then nothing remains
    pages.run(delivery.cluster, delete)
    assert not [name for name in argocd.applications(kube) if name.startswith("dev")]
    assert kube.find(f"/api/v1/namespaces/{dev.namespace}") is None

    # And the last commands list the volumes that a person has to delete: none of the class Retain
    # is deleted by Kubernetes
    listed = pages.run(delivery.cluster, f"ENV=dev\n{report}", check=False)
    volumes = kube.items("/api/v1/persistentvolumes")
    retained = {
        volume["metadata"]["name"]
        for volume in volumes
        if volume["spec"]["claimRef"]["namespace"] == dev.namespace
        and volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    }
    assert retained == {name for name in retained if name in listed}
    assert "appproject" not in listed
