"""A version that never becomes ready: nobody is hurt, and the way back takes seconds."""

from __future__ import annotations

import time

import pytest
from lab import argocd
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.progress import say
from lab.releases import Version
from lab.waiting import until

_SERVICE = "event-audit-dashboard"
#: The Deployment's progressDeadlineSeconds, and the time that Argo CD needs to hear of it.
_DEGRADED_WITHIN = 240
_BACK_WITHIN = 30


# dev's canaries begin here and go on beside the next steps; step 9 tells how they ended.
@pytest.mark.usefixtures("canaries")
def test_a_bad_version_is_seen_survived_and_rolled_back(
    delivery: Delivery, prod: Environment
) -> None:
    kube, name = delivery.cluster.kube, prod.services[_SERVICE]
    contains = delivery.repository.contains
    good = delivery.releases[_SERVICE, Version.NEXT].digest
    with argocd.api(delivery.cluster) as api, prod.dashboard() as browser:
        before = api.history(name)[-1]

        # Given a version whose readiness never comes
        delivery.pin("prod", Version.BROKEN, _SERVICE)
        bad = delivery.deliver("prod: a bad dashboard", name)
        argocd.wait_for(kube, name, revision=bad, contains=contains, sync="OutOfSync", health=None)

        # When a person syncs it
        api.sync(name)

        # Then Argo CD says Degraded, and the old version served all the time
        def degraded() -> bool:
            answer = browser.get("/healthz")
            if not answer.is_success or not _all_good(prod, good):
                serving = prod.ready_images(_SERVICE)
                raise RuntimeError(f"not the old version alone: {answer.status_code}, {serving}")
            found = argocd.application(kube, name)
            assert found.health == "Degraded", found
            # An autoscaler without measurements is Degraded too: this must be the version's doing.
            assert _gave_up(prod), "the Deployment still hopes"
            return True

        until(degraded, f"{name} is Degraded", seconds=_DEGRADED_WITHIN, every=0.5)

        # When the person rolls back to the entry before
        start = time.monotonic()
        api.rollback(name, before["id"])

        # Then prod is well within seconds, though behind what git says
        def back() -> bool:
            found = argocd.application(kube, name)
            assert found.health == "Healthy", found
            return prod.runs(_SERVICE, good)

        until(back, f"{name} is back", seconds=_BACK_WITHIN)
        say(f"rolled back in {time.monotonic() - start:.1f} s")
        assert argocd.application(kube, name).sync == "OutOfSync"

        # And when the commit is reverted, git and prod agree again
        commit = delivery.repository.revert()
        argocd.refresh(kube, name)
        argocd.wait_for(kube, name, revision=commit, contains=contains)
        assert prod.runs(_SERVICE, good)


def _gave_up(prod: Environment) -> bool:
    conditions = prod.get("apps/v1/deployments", _SERVICE)["status"]["conditions"]
    return any(one.get("reason") == "ProgressDeadlineExceeded" for one in conditions)


def _all_good(prod: Environment, digest: str) -> bool:
    serving = prod.ready_images(_SERVICE)
    return bool(serving) and all(digest in image for image in serving)
