"""A version of dev goes to staging by a merge, and to prod by a merge and a sync of a person."""

from __future__ import annotations

import pytest

from lab import argocd, releases
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.errors import LabError
from lab.releases import SERVICES, Version
from lab.waiting import until

_PATIENCE = 240


# dev's canaries begin here; step 9 tells how they ended. This clone does not see their commits
# before it has copied what dev runs.
@pytest.mark.usefixtures("canaries")
def test_a_merge_promotes_to_staging(delivery: Delivery, staging: Environment) -> None:
    # Given a branch that copies what dev runs
    # When it is merged
    commit = _promote(delivery, source="dev", target="staging")
    argocd.refresh(delivery.cluster.kube, *staging.services.values())

    # Then staging runs it
    for service in SERVICES:
        delivery.wait_for(staging.services[service], commit, seconds=_PATIENCE)
        assert staging.runs(service, delivery.releases[service, Version.NEXT].digest), service


def test_prod_runs_it_when_a_person_syncs_inside_the_window(
    delivery: Delivery, prod: Environment
) -> None:
    kube = delivery.cluster.kube

    # Given the promotion, merged, and prod's sync window, closed
    _promote(delivery, source="staging", target="prod")
    delivery.set_sync_window(schedule="0 0 1 1 *", duration="1m")
    commit = delivery.deliver("prod: closed", "prod")
    delivery.wait_for("prod", commit, health=None, seconds=60)
    argocd.refresh(kube, *prod.services.values())
    for name in prod.services.values():
        delivery.wait_for(name, commit, sync="OutOfSync", health=None)

    # When someone tries to sync all the same
    with argocd.api(delivery.cluster) as api:
        with pytest.raises(LabError, match="window"):
            api.sync(prod.services["notification-service"])

        # Then prod runs what it ran
        for service in SERVICES:
            assert prod.runs(service, delivery.releases[service, Version.BUILT].digest), service

        # And when the window is open, the same button brings the new version
        delivery.set_sync_window(schedule="0 0 * * *", duration="24h")
        commit = delivery.deliver("prod: open", "prod")
        delivery.wait_for("prod", commit, health=None, seconds=60)
        argocd.refresh(kube, *prod.services.values())
        for name in prod.services.values():
            delivery.wait_for(name, commit, sync="OutOfSync", health=None)
            api.sync(name)
    for service in SERVICES:
        delivery.wait_for(prod.services[service], commit, seconds=_PATIENCE)
        until(
            lambda service=service: prod.runs(  # type: ignore[misc]
                service, delivery.releases[service, Version.NEXT].digest
            ),
            f"prod runs the new {service}",
            seconds=30,
        )


def _promote(delivery: Delivery, *, source: str, target: str) -> str:
    repository = delivery.repository
    repository.git("checkout", "-q", "-b", f"promote-{target}")
    for service in SERVICES:
        releases.promote(repository, service, source=source, target=target)
    repository.git("add", "--all")
    repository.git("commit", "-q", "-m", f"Promote to {target}")
    return repository.merge(f"promote-{target}")
