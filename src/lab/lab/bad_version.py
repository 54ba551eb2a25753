"""A version of prod's dashboard that never becomes ready, and a person's way back from it.

Kubernetes hopes for such a version for two minutes, so it goes on beside the steps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from . import argocd
from .bootstrap import Delivery
from .environment import Environment
from .releases import Version
from .waiting import until

SERVICE = "event-audit-dashboard"
#: The Deployment's progressDeadlineSeconds, and the time that Argo CD needs to hear of it.
_DEGRADED_WITHIN = 240
_BACK_WITHIN = 30


@dataclass(frozen=True)
class WayBack:
    """What was seen of the way back."""

    #: From the button ROLLBACK to a Healthy Application.
    seconds: float
    #: What Argo CD said of the Application then: it is behind what git says.
    sync: str


def survived(delivery: Delivery, prod: Environment) -> WayBack:
    """Sync the bad version, go back in Argo CD when it is Degraded, then revert it in git.

    :raises RuntimeError: when anything but the old version served meanwhile.
    :raises NotInTime: when a state that should come did not.
    """
    kube, name = delivery.cluster.kube, prod.services[SERVICE]
    good = delivery.releases[SERVICE, Version.NEXT].digest
    with argocd.api(delivery.cluster) as api, prod.dashboard() as browser:
        before = api.history(name)[-1]

        # Given a version whose readiness never comes
        delivery.pin("prod", Version.BROKEN, SERVICE)
        bad = delivery.deliver("prod: a bad dashboard", name)
        delivery.wait_for(name, bad, sync="OutOfSync", health=None)

        # When a person syncs it
        api.sync(name)

        # Then Argo CD says Degraded, and the old version served all the time
        def degraded() -> bool:
            answer = browser.get("/healthz")
            if not answer.is_success or not _all_good(prod, good):
                serving = prod.ready_images(SERVICE)
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
            return prod.runs(SERVICE, good)

        until(back, f"{name} is back", seconds=_BACK_WITHIN)
        way = WayBack(time.monotonic() - start, argocd.application(kube, name).sync)

        # And when the commit is reverted, git and prod agree again
        commit = delivery.repository.revert()
        argocd.refresh(kube, name)
        delivery.wait_for(name, commit)
        if not prod.runs(SERVICE, good):
            raise RuntimeError(f"prod does not run {good} after the revert")
        return way


def _gave_up(prod: Environment) -> bool:
    conditions = prod.get("apps/v1/deployments", SERVICE)["status"]["conditions"]
    return any(one.get("reason") == "ProgressDeadlineExceeded" for one in conditions)


def _all_good(prod: Environment, digest: str) -> bool:
    serving = prod.ready_images(SERVICE)
    return bool(serving) and all(digest in image for image in serving)
