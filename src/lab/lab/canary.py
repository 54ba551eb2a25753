"""Canary releases of dev's dashboard: a good version, a version with errors, and the return.

The steps follow docs/how-to/roll-out-by-canary.md. Most of the time is waiting, so they run in the
background.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from . import argocd, automation, prometheus, visitors
from .background import BackgroundTask
from .bootstrap import Delivery
from .environment import Environment
from .forge import Forge
from .kube import Object
from .releases import Version
from .waiting import until

SERVICE = "event-audit-dashboard"
_ROLLOUTS = "argoproj.io/v1alpha1/rollouts"
_COMPONENT = "../../../components/canary"
_ROLLOUT = {"kind": "Rollout"}
#: The limit of the waits for a canary, in seconds.
_CANARY_SECONDS = 420
#: Duration of the analysis. A good version runs for all of it. A bad version is aborted earlier,
#: after three consecutive failed measurements.
_GOOD, _BAD = "2m", "10m"


@dataclass(frozen=True)
class Canary:
    """The answers to visitors during a canary, and the measurements of its analysis."""

    answers: Counter[int | str]
    #: Shares of errors, from 0 to 1.
    shares: list[float]


class Canaries:
    """Runs canaries one after the other, also while other checks run."""

    def __init__(
        self, delivery: Delivery, dev: Environment, measured: BackgroundTask[None]
    ) -> None:
        own = delivery.with_own_clone("canary")
        self.good = BackgroundTask(lambda: _good(own, dev, measured))
        self.bad = BackgroundTask(lambda: _bad(own, dev, after=self.good))
        #: The answers that visitors got while dev removed the component.
        self.out = BackgroundTask(lambda: _opt_out(own, dev, after=self.bad))


def _good(delivery: Delivery, dev: Environment, measured: BackgroundTask[None]) -> Canary:
    """Roll out a good version. It replaces the current one."""
    name = dev.services[SERVICE]
    with dev.dashboard() as browser, visitors.asking(browser, "/alerts") as seen:
        # Given visitors of the dashboard, and a version whose requests Prometheus has
        _opt_in(delivery, dev)
        measured.result()
        _wait_until_measured(delivery, dev)
        stable = _rollout(dev)["status"]["stableRS"]

        # When a good version is committed
        good = _other_good_version(delivery, dev)
        delivery.pin(dev.name, good, SERVICE)
        commit = delivery.deliver("dev: a good dashboard", name)

        # Then both versions serve for some time, and afterwards only the new one
        def both_serve() -> bool:
            status = _rollout(dev)["status"]
            assert status["currentPodHash"] != status["stableRS"], "not begun"
            serving = set(dev.ready_images(SERVICE))
            assert len(serving) == 2, serving
            return True

        until(both_serve, "the old and the new version serve", seconds=180)
        until(
            lambda: _rollout(dev)["status"]["stableRS"] != stable,
            "the new version is the stable one",
            seconds=_CANARY_SECONDS,
        )
    delivery.wait_for(name, commit, seconds=120)
    _wait_for_only_image(dev, delivery.releases[SERVICE, good].digest)
    return Canary(seen, _measurements(dev))


def _bad(delivery: Delivery, dev: Environment, *, after: BackgroundTask[Canary]) -> Canary:
    """Deploy a version that is ready and whose pages are errors. The analysis aborts the canary."""
    after.result()
    kube, name = delivery.cluster.kube, dev.services[SERVICE]
    good = dev.image(SERVICE)
    stable = _rollout(dev)["status"]["stableRS"]
    with dev.dashboard() as browser, visitors.asking(browser, "/alerts") as seen:
        _add_canary(_overlay(delivery, dev), _BAD)
        delivery.pin(dev.name, Version.ERRING, SERVICE)
        commit = delivery.deliver("dev: a bad dashboard", name)

        def aborted() -> bool:
            status = _rollout(dev)["status"]
            assert status.get("abort"), status.get("message", status["phase"])
            assert status["phase"] == "Degraded"
            return True

        until(aborted, "the canary is aborted", seconds=_CANARY_SECONDS)
        delivery.wait_for(name, commit, health="Degraded")
    if delivery.forge is not None:
        automation.wait_until_not_ready(delivery.cluster, dev.name)
        _not_promoted(delivery, delivery.forge, commit)

    # Then only the previous version serves, and no page is an error
    _wait_for_only_image(dev, good)
    assert _rollout(dev)["status"]["stableRS"] == stable
    measured = _measurements(dev)
    with dev.dashboard() as browser:
        answers = {browser.get("/alerts").status_code for _ in range(50)}
    assert answers == {httpx.codes.OK}, answers

    # And after the revert of the commit, dev is in sync with git
    commit = delivery.repository.revert()
    argocd.refresh(kube, name)
    delivery.wait_for(name, commit)
    return Canary(seen, measured)


def _not_promoted(delivery: Delivery, forge: Forge, commit: str) -> None:
    """Check that the promoter has not started the promotion of a commit."""
    for dispatch in forge.dispatches:
        payload = dispatch["client_payload"]
        if payload["environment"] == "dev" and delivery.repository.contains(
            payload["revision"], commit
        ):
            raise RuntimeError(f"the promoter promoted the aborted canary: {dispatch}")


def _opt_in(delivery: Delivery, dev: Environment) -> None:
    """Add the component "canary" to dev's dashboard, and wait for it."""
    name = dev.services[SERVICE]
    commit = delivery.repository.head()
    if _add_canary(_overlay(delivery, dev), _GOOD):
        commit = delivery.deliver("dev: canaries for the dashboard", name)
    argocd.refresh(delivery.cluster.kube, name)
    delivery.wait_for(name, commit, seconds=_CANARY_SECONDS)


def _wait_for_only_image(dev: Environment, image: str) -> None:
    """Wait until an image, identified by its name or digest, serves all requests.

    A pod that stops receives requests until each node has updated its routes. Therefore no pod of
    another image may exist.
    """

    def is_only_image() -> bool:
        images = [pod["spec"]["containers"][0]["image"] for pod in dev.pods(SERVICE)]
        return bool(dev.ready_images(SERVICE)) and all(image in item for item in images)

    until(is_only_image, f"only {image} serves", seconds=120)


def _opt_out(
    delivery: Delivery, dev: Environment, *, after: BackgroundTask[Canary]
) -> Counter[int | str]:
    """Remove the component from dev's dashboard. Returns the answers to visitors meanwhile."""
    after.result()
    name, overlay = dev.services[SERVICE], _overlay(delivery, dev)
    kubectl, space = delivery.cluster.kubectl, f"--namespace={dev.namespace}"
    with dev.dashboard() as browser, visitors.asking(browser, "/alerts") as seen:
        # When the Rollout no longer scales the Deployment down, and the Deployment has pods
        written = yaml.safe_load(overlay.read_text())
        _patch(written, "/spec/workloadRef/scaleDown", "never")
        overlay.write_text(yaml.safe_dump(written, sort_keys=False))
        commit = delivery.deliver("dev: stop scaling the Deployment down", name)
        delivery.wait_for(name, commit)
        kubectl("scale", f"deployment/{SERVICE}", "--replicas=1", space)
        kubectl("rollout", "status", f"deployment/{SERVICE}", "--timeout=300s", space)

        # Then the component is removed
        written["components"].remove(_COMPONENT)
        written["patches"] = [
            patch for patch in written["patches"] if patch.get("target") != _ROLLOUT
        ]
        overlay.write_text(yaml.safe_dump(written, sort_keys=False))
        commit = delivery.deliver("dev: remove the canary of the dashboard", name)
        delivery.wait_for(name, commit)
        until(
            lambda: not dev.items(_ROLLOUTS) and len(dev.pods(SERVICE)) == 1,
            "the pod of the Deployment is the only pod",
            seconds=120,
        )
    return seen


def _overlay(delivery: Delivery, dev: Environment) -> Path:
    overlays = delivery.repository.work / "apps" / SERVICE / "envs"
    return overlays / dev.name / "kustomization.yaml"


def _add_canary(file: Path, duration: str) -> bool:
    """Add the component and a pause of ``duration`` to the overlay. Return whether it changed."""
    before = file.read_text()
    overlay = yaml.safe_load(before)
    if _COMPONENT not in overlay["components"]:
        overlay["components"].append(_COMPONENT)
    steps = [{"setWeight": 20}, {"pause": {"duration": duration}}, {"setWeight": 50}]
    _patch(overlay, "/spec/strategy/canary/steps", steps)
    file.write_text(yaml.safe_dump(overlay, sort_keys=False))
    return file.read_text() != before


def _patch(overlay: Object, path: str, value: object) -> None:
    """Replace the patch of the Rollout in an overlay."""
    others = [patch for patch in overlay.get("patches", []) if patch.get("target") != _ROLLOUT]
    change = {"op": "replace", "path": path, "value": value}
    overlay["patches"] = [*others, {"target": _ROLLOUT, "patch": yaml.safe_dump([change])}]


def _other_good_version(delivery: Delivery, dev: Environment) -> Version:
    """A good version that does not run now."""
    runs = dev.image(SERVICE)
    good = (Version.BUILT, Version.NEXT)
    return next(item for item in good if delivery.releases[SERVICE, item].digest not in runs)


def _rollout(dev: Environment) -> Object:
    return dev.get(_ROLLOUTS, SERVICE)


def _wait_until_measured(delivery: Delivery, dev: Environment) -> None:
    promql = (
        f'sum(auditflow_http_request_duration_seconds_count{{namespace="{dev.namespace}",'
        f'pod=~"{SERVICE}-.+"}}) > 0'
    )
    until(
        lambda: prometheus.query(delivery.cluster, promql),
        "Prometheus sees the dashboard's requests",
        seconds=180,
        every=1,
    )


def _measurements(dev: Environment) -> list[float]:
    """The measurements of the newest analysis: shares of errors, without NaN (no requests)."""
    runs = dev.items("argoproj.io/v1alpha1/analysisruns")
    newest = max(runs, key=lambda run: str(run["metadata"]["creationTimestamp"]))
    results: list[Any] = newest["status"]["metricResults"][0]["measurements"]
    values = [
        result["value"].strip("[]") for result in results if result.get("value", "[]") != "[]"
    ]
    return [float(value) for value in values if value != "NaN"]
