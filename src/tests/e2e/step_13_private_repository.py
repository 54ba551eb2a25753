"""The repository becomes private: Argo CD reads it with the deploy key of the onboarding page."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops.layout import SERVICES
from lab import argocd, bootstrap, pages, private_repository
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.private_repository import PrivateRepository
from lab.releases import Version
from lab.waiting import until

_PAGE = "docs/how-to/fork-to-first-alert.md"
_DASHBOARD = "event-audit-dashboard"


@pytest.mark.usefixtures("all_steps")
def test_a_private_repository_is_read_with_a_deploy_key(
    delivery: Delivery, staging: Environment, tmp_path: Path
) -> None:
    cluster, kube = delivery.cluster, delivery.cluster.kube
    private = PrivateRepository(delivery, tmp_path)

    # Given an Argo CD that has the host key, and a repository that only SSH serves
    private.write_host_key()
    commit = delivery.deliver("argocd: the host key of the repository", "cluster", "argocd")
    delivery.wait_for("argocd", commit)
    private_repository.close_http(cluster)

    # When a person sets its address and runs the bootstrap, then Argo CD has no access
    private.write_address()
    delivery.repository.commit("The repository is private")
    bootstrap.run(delivery)

    def is_refused() -> bool:
        argocd.refresh(kube, "cluster")
        found = argocd.application(kube, "cluster")
        assert found.sync == "Unknown", found
        assert "failed to list refs" in found.message, found
        return True

    until(is_refused, "the server refuses Argo CD", seconds=120, every=2)

    # When the person runs the commands of the page, and adds the public key to the forge
    _, create_key = pages.commands(_PAGE, "## 3. Prepare K3s")
    create_key = create_key.replace("git@github.com:OWNER/REPO.git", private.url)
    assert private.url in create_key
    pages.run(cluster, f"cd {tmp_path}\n{create_key}")
    private.accept(tmp_path / "deploy-key.pub")

    # Then Argo CD reads it, and deploys a commit
    current = staging.runs(_DASHBOARD, delivery.releases[_DASHBOARD, Version.NEXT].digest)
    version = Version.BUILT if current else Version.NEXT
    delivery.pin("staging", version, _DASHBOARD)
    commit = delivery.deliver("staging: read over SSH", "cluster", "staging")

    def deployed() -> bool:
        argocd.refresh(kube, "cluster", "staging", *staging.services.values())
        for name in ("cluster", "staging"):
            found = argocd.application(kube, name)
            assert found.sync == "Synced", found
            assert delivery.repository.contains(found.revision, commit), found
        digest = delivery.releases[_DASHBOARD, version].digest
        assert staging.runs(_DASHBOARD, digest), argocd.application(
            kube, staging.services[_DASHBOARD]
        )
        return True

    until(deployed, "staging runs a commit that was read over SSH", seconds=180, every=5)
    for service in SERVICES:
        found = argocd.application(kube, staging.services[service])
        assert found.sync == "Synced", found

    # And the delivery metrics read the history with the same key
    def measured() -> bool:
        argocd.refresh(kube, "delivery-metrics")
        found = argocd.application(kube, "delivery-metrics")
        assert found.healthy, found
        assert delivery.repository.contains(found.revision, commit), found
        return True

    until(measured, "the delivery metrics have the history", seconds=180, every=5)
