"""A version of prod's dashboard that never becomes ready, and the rollback.

Kubernetes waits two minutes before it reports the failure, so this runs in the background.
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
#: The Deployment's progressDeadlineSeconds, and the time until Argo CD sees the result.
_DEGRADED_WITHIN = 240
_RECOVERED_WITHIN = 30


@dataclass(frozen=True)
class Rollback:
    """Measurements of the rollback."""

    #: From the button ROLLBACK to a Healthy Application.
    seconds: float
    #: Sync state of the Application after the rollback, before the revert in git.
    sync: str


def deploy_and_roll_back(delivery: Delivery, prod: Environment) -> Rollback:
    """Sync the bad version, roll back in Argo CD when it is Degraded, then revert it in git.

    :raises RuntimeError: another version than the old one served requests.
    :raises NotInTime: an expected state was not reached.
    """
    kube, name = delivery.cluster.kube, prod.services[SERVICE]
    good = delivery.releases[SERVICE, Version.NEXT].digest
    with argocd.api(delivery.cluster) as api, prod.dashboard() as browser:
        before = api.history(name)[-1]

        # Given a version that never becomes ready
        delivery.pin("prod", Version.BROKEN, SERVICE)
        bad = delivery.deliver("prod: a bad dashboard", name)
        delivery.wait_for(name, bad, sync="OutOfSync", health=None)

        # When a person syncs it
        api.sync(name)

        # Then Argo CD reports Degraded, and only the old version serves
        def degraded() -> bool:
            answer = browser.get("/healthz")
            if not answer.is_success or not _only_serves(prod, good):
                serving = prod.ready_images(SERVICE)
                raise RuntimeError(
                    f"not only the old version serves: {answer.status_code}, {serving}"
                )
            found = argocd.application(kube, name)
            assert found.health == "Degraded", found
            # An autoscaler without measurements is also Degraded, so check the Deployment.
            assert _deadline_exceeded(prod), "the Deployment has not reached its deadline"
            return True

        until(degraded, f"{name} is Degraded", seconds=_DEGRADED_WITHIN, every=0.5)

        # When a person rolls back to the previous entry
        start = time.monotonic()
        api.rollback(name, before["id"])

        # Then prod is healthy within seconds, and OutOfSync with git
        def recovered() -> bool:
            found = argocd.application(kube, name)
            assert found.health == "Healthy", found
            return prod.runs(SERVICE, good)

        until(recovered, f"{name} is healthy", seconds=_RECOVERED_WITHIN)
        result = Rollback(time.monotonic() - start, argocd.application(kube, name).sync)

        # And after the revert of the commit, prod is in sync with git
        commit = delivery.repository.revert()
        argocd.refresh(kube, name)
        delivery.wait_for(name, commit)
        if not prod.runs(SERVICE, good):
            raise RuntimeError(f"prod does not run {good} after the revert")
        return result


def _deadline_exceeded(prod: Environment) -> bool:
    conditions = prod.get("apps/v1/deployments", SERVICE)["status"]["conditions"]
    return any(condition.get("reason") == "ProgressDeadlineExceeded" for condition in conditions)


def _only_serves(prod: Environment, digest: str) -> bool:
    serving = prod.ready_images(SERVICE)
    return bool(serving) and all(digest in image for image in serving)
