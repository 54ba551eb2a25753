"""A version of dev goes to staging by a merge, and to prod by a merge and a sync of a person."""

from __future__ import annotations

import time

import pytest

from gitops.layout import SERVICES
from lab import argocd, automation
from lab.bootstrap import BASE, Delivery
from lab.environment import Environment
from lab.errors import LabError
from lab.forge import Forge
from lab.progress import info
from lab.releases import Version
from lab.waiting import until

_PATIENCE = 240
_SERVICE = "notification-service"
_DASHBOARD = "event-audit-dashboard"


def test_changed_base_waits_for_a_promotion(
    delivery: Delivery, dev: Environment, staging: Environment
) -> None:
    # Given a changed base, which dev runs
    commit = delivery.repository.head()
    delivery.wait_for(dev.services[_SERVICE], commit)
    assert _base(dev) == "2"

    # When Argo CD compares staging with the same commit
    argocd.refresh(delivery.cluster.kube, staging.services[_SERVICE])
    delivery.wait_for(staging.services[_SERVICE], commit)

    # Then staging is in sync with git, and does not have the change
    assert _base(staging) is None


# dev's canaries begin here; step 9 shows how they ended. This clone does not contain their commits
# before it has promoted what dev runs.
@pytest.mark.usefixtures("canaries")
def test_a_merge_promotes_to_staging(delivery: Delivery, staging: Environment) -> None:
    # When the promotion of images and bases is merged
    commit = delivery.promote(source="dev", target="staging")
    argocd.refresh(delivery.cluster.kube, *staging.services.values())

    # Then staging runs both
    for service in SERVICES:
        delivery.wait_for(staging.services[service], commit, seconds=_PATIENCE)
        assert staging.runs(service, delivery.releases[service, Version.NEXT].digest), service
    assert _base(staging) == "2"


@pytest.mark.usefixtures("all_steps")
def test_promoter_starts_the_promotion_of_a_healthy_environment(
    delivery: Delivery, staging: Environment, forge: Forge
) -> None:
    # Given staging, which runs the merged promotion
    commit = delivery.repository.head()
    kube = delivery.cluster.kube
    names = [name for name in argocd.applications(kube) if name.startswith("staging-")]
    assert set(names) > set(staging.services.values())

    # When it was healthy for the soak time, and Argo CD has compared all of it again
    def dispatched() -> bool:
        argocd.refresh(kube, *names)
        found = _promoted_revision(delivery, forge, staging, commit)
        assert found, (len(forge.dispatches), automation.state(delivery.cluster, "staging"))
        return True

    # Then the promoter asks the forge to start the workflow, once
    until(dispatched, "the promoter starts the promotion of staging", seconds=180, every=5)
    assert {each["event_type"] for each in forge.dispatches} == {"auditflow-synced"}


def test_person_syncs_and_rolls_back_prod_outside_its_window(
    delivery: Delivery, prod: Environment, staging: Environment, forge: Forge | None
) -> None:
    kube = delivery.cluster.kube
    name = prod.services[_DASHBOARD]

    # Given the promotion, merged, and prod's sync window, closed
    head = delivery.repository.head()
    revision = _promoted_revision(delivery, forge, staging, head) if forge else head
    delivery.promote(source="staging", target="prod", at=revision)
    delivery.set_sync_window(schedule="0 0 1 1 *", duration="1m")
    commit = delivery.deliver("prod: closed", "prod")
    delivery.wait_for("prod", commit, health=None, seconds=60)
    argocd.refresh(kube, *prod.services.values())
    for application in prod.services.values():
        delivery.wait_for(application, commit, sync="OutOfSync", health=None)

    with argocd.api(delivery.cluster) as api:
        api.role(f"auditflow-{prod.name}", "operator")
        before = api.history(name)[-1]

        # When auto-sync is on and Argo CD has compared again, then it does not sync
        api.pause(name, automated=True)
        _compare_again(delivery, name)
        assert argocd.application(kube, name).sync == "OutOfSync"
        api.pause(name, automated=False)

        # When an operator syncs, then prod runs the new version and the new base
        for application in prod.services.values():
            api.sync(application)
        for service in SERVICES:
            delivery.wait_for(prod.services[service], commit, seconds=_PATIENCE)
            _wait_until_it_runs(delivery, prod, service, Version.NEXT)
        assert _base(prod) == "2"

        # When an operator rolls back, then prod runs the old version at once
        start = time.monotonic()
        api.rollback(name, before["id"])
        _wait_until_it_runs(delivery, prod, _DASHBOARD, Version.BUILT)
        info(f"rolled back outside the window in {time.monotonic() - start:.1f} s")

        # When the window is open, then the same buttons work
        delivery.set_sync_window(schedule="0 0 * * *", duration="24h")
        commit = delivery.deliver("prod: open", "prod")
        delivery.wait_for("prod", commit, health=None, seconds=60)
        api.sync(name)
        _wait_until_it_runs(delivery, prod, _DASHBOARD, Version.NEXT)


def test_operator_may_use_the_buttons_of_prod_and_no_other(
    delivery: Delivery, prod: Environment
) -> None:
    name = prod.services[_DASHBOARD]
    with argocd.api(delivery.cluster) as api:
        api.role(f"auditflow-{prod.name}", "operator")
        api.confirm_deletion(name, "2026-01-01T00:00:00Z")
        api.pause(name, automated=False)
        with pytest.raises(LabError, match="403"):
            api.delete(name)
        with pytest.raises(LabError, match="403"):
            api.sync("staging-event-audit-dashboard")


def test_merged_rollback_returns_image_and_base(delivery: Delivery, staging: Environment) -> None:
    kube, name = delivery.cluster.kube, staging.services[_SERVICE]

    # When the rollback of a service is merged, while auto-sync is on
    start = time.monotonic()
    commit = delivery.roll_back("staging", _SERVICE)
    argocd.refresh(kube, name)

    # Then staging runs the earlier image with the earlier base
    _wait_until_it_runs(delivery, staging, _SERVICE, Version.BUILT)
    info(f"from the merge of the rollback to running pods: {time.monotonic() - start:.1f} s")
    delivery.wait_for(name, commit)
    assert _base(staging) is None

    # And the other services keep their version
    others = [service for service in SERVICES if service != _SERVICE]
    for service in others:
        assert staging.runs(service, delivery.releases[service, Version.NEXT].digest), service


def _promoted_revision(
    delivery: Delivery, forge: Forge, environment: Environment, commit: str
) -> str:
    """The revision of the newest dispatch of an environment that contains a commit, or ''."""
    for dispatch in reversed(forge.dispatches):
        payload = dispatch["client_payload"]
        revision: str = payload["revision"]
        if payload["environment"] == environment.name and delivery.repository.contains(
            revision, commit
        ):
            return revision
    return ""


def _base(environment: Environment) -> str | None:
    deployment = environment.get("apps/v1/deployments", _SERVICE)
    value: str | None = deployment["metadata"].get("annotations", {}).get(BASE)
    return value


def _wait_until_it_runs(
    delivery: Delivery, environment: Environment, service: str, version: Version
) -> None:
    digest = delivery.releases[service, version].digest
    until(
        lambda: environment.runs(service, digest),
        f"{environment.name} runs {version.value} of {service}",
        seconds=_PATIENCE,
    )


def _compare_again(delivery: Delivery, name: str) -> None:
    """Wait until Argo CD has compared the Application once more."""
    kube = delivery.cluster.kube
    argocd.refresh(kube, name)
    until(
        lambda: not argocd.application(kube, name).refreshing,
        f"Argo CD has compared {name}",
        seconds=60,
    )
