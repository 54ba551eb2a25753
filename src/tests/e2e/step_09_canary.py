"""A canary: a good version takes over step by step, a bad one aborts by itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from lab import argocd, prometheus
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.kube import Object
from lab.progress import say
from lab.releases import Version
from lab.waiting import until

_SERVICE = "event-audit-dashboard"
_ROLLOUTS = "argoproj.io/v1alpha1/rollouts"
_COMPONENT = "../../../components/canary"
_PATIENCE = 420


@pytest.fixture(scope="module", autouse=True)
def opted_in(
    delivery: Delivery, dev: Environment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """dev's dashboard with the component "canary", as its folder says."""
    prometheus.install(delivery.cluster, tmp_path_factory.mktemp("prometheus"))
    folder = delivery.repository.work / "apps" / _SERVICE / "envs" / dev.name
    commit = delivery.repository.head()
    if _opt_in(folder / "kustomization.yaml"):
        commit = delivery.deliver("dev: canaries for the dashboard", dev.services[_SERVICE])
    argocd.refresh(delivery.cluster.kube, dev.services[_SERVICE])
    argocd.wait_for(
        delivery.cluster.kube, dev.services[_SERVICE], revision=commit, seconds=_PATIENCE
    )


def test_a_good_version_takes_over(delivery: Delivery, dev: Environment) -> None:
    kube, name = delivery.cluster.kube, dev.services[_SERVICE]
    with _visitors(dev) as seen:
        # Given people who look at the dashboard, and a version that Prometheus has measured
        _wait_until_measured(delivery, dev)
        stable = _rollout(dev)["status"]["stableRS"]

        # When a good version is committed
        good = _another(delivery, dev)
        delivery.pin(dev.name, good, _SERVICE)
        commit = delivery.deliver("dev: a good dashboard", name)

        # Then both serve for a while, and then it alone
        def shared() -> bool:
            status = _rollout(dev)["status"]
            assert status["currentPodHash"] != status["stableRS"], "not begun"
            serving = set(dev.ready_images(_SERVICE))
            assert len(serving) == 2, serving
            return True

        until(shared, "the old and the new version serve", seconds=180)
        until(
            lambda: _rollout(dev)["status"]["stableRS"] != stable,
            "the new version is the stable one",
            seconds=_PATIENCE,
        )
    digest = delivery.releases[_SERVICE, good].digest
    argocd.wait_for(kube, name, revision=commit, seconds=120)

    def alone() -> bool:
        serving = dev.ready_images(_SERVICE)
        return bool(serving) and all(digest in image for image in serving)

    until(alone, "the new version serves alone", seconds=120)

    # And Prometheus was asked about it, and answered with figures of the new pods
    measured = _measurements(dev)
    say(f"{dict(seen)} answers; the share of errors, as the analysis saw it: {measured}")
    assert measured
    assert all(share < 0.01 for share in measured)
    assert set(seen) == {httpx.codes.OK}


def test_a_bad_version_aborts_by_itself(delivery: Delivery, dev: Environment) -> None:
    kube, name = delivery.cluster.kube, dev.services[_SERVICE]
    good = dev.image(_SERVICE)
    stable = _rollout(dev)["status"]["stableRS"]
    with _visitors(dev) as seen:
        # When a version is committed that is ready, and whose pages are errors
        delivery.pin(dev.name, Version.ERRING, _SERVICE)
        commit = delivery.deliver("dev: a bad dashboard", name)

        # Then it is aborted by nobody's doing, and Argo CD says Degraded
        def aborted() -> bool:
            status = _rollout(dev)["status"]
            assert status.get("abort"), status.get("message", status["phase"])
            assert status["phase"] == "Degraded"
            return True

        until(aborted, "the canary is aborted", seconds=_PATIENCE)
        argocd.wait_for(kube, name, revision=commit, health="Degraded")

    # And the version before serves alone: no page is an error any more
    def alone() -> bool:
        serving = dev.ready_images(_SERVICE)
        return set(serving) == {good}

    until(alone, "the version before serves alone", seconds=120)
    assert _rollout(dev)["status"]["stableRS"] == stable
    say(f"{dict(seen)} answers until it was aborted; its share of errors: {_measurements(dev)}")
    assert any(share >= 0.01 for share in _measurements(dev))
    with dev.dashboard() as browser:
        assert {browser.get("/alerts").status_code for _ in range(50)} == {httpx.codes.OK}

    # And when the commit is reverted, git and dev agree again
    commit = delivery.repository.revert()
    argocd.refresh(kube, name)
    argocd.wait_for(kube, name, revision=commit)


def test_the_rules_of_the_repository_are_in_force(delivery: Delivery) -> None:
    # Given the rules that Argo CD put into the cluster
    path = "/apis/monitoring.coreos.com/v1/prometheusrules"
    applied = {
        rule.get("alert") or rule["record"]
        for found in delivery.cluster.kube.items(path)
        for group in found["spec"]["groups"]
        for rule in group["rules"]
    }
    assert applied

    # Then Prometheus has them all, and can evaluate each
    def evaluated() -> bool:
        rules = prometheus.rules(delivery.cluster)
        assert applied <= rules.keys(), f"not loaded: {applied - rules.keys()}"
        waiting = {name: health for name, health in rules.items() if health != "ok"}
        assert not waiting, waiting
        return True

    until(evaluated, f"{len(applied)} rules are evaluated", seconds=180, every=1)


def _opt_in(file: Path) -> bool:
    """What a person writes, and one pause instead of two; False when it is there."""
    overlay = yaml.safe_load(file.read_text())
    if _COMPONENT in overlay["components"]:
        return False
    overlay["components"].append(_COMPONENT)
    pauses = [{"setWeight": 20}, {"pause": {"duration": "2m"}}, {"setWeight": 50}]
    change = {"op": "replace", "path": "/spec/strategy/canary/steps", "value": pauses}
    overlay.setdefault("patches", []).append(
        {"target": {"kind": "Rollout"}, "patch": yaml.safe_dump([change])}
    )
    file.write_text(yaml.safe_dump(overlay, sort_keys=False))
    return True


def _another(delivery: Delivery, dev: Environment) -> Version:
    """A good version that does not run now."""
    runs = dev.image(_SERVICE)
    good = (Version.BUILT, Version.NEXT)
    return next(one for one in good if delivery.releases[_SERVICE, one].digest not in runs)


def _rollout(dev: Environment) -> Object:
    return dev.get(_ROLLOUTS, _SERVICE)


def _wait_until_measured(delivery: Delivery, dev: Environment) -> None:
    promql = (
        f'sum(rate(auditflow_http_request_duration_seconds_count{{namespace="{dev.namespace}",'
        f'pod=~"{_SERVICE}-.+"}}[2m]))'
    )

    def measured() -> bool:
        samples = prometheus.query(delivery.cluster, promql)
        return bool(samples) and float(samples[0]["value"][1]) > 0

    until(measured, "Prometheus sees the dashboard's requests", seconds=180, every=1)


def _measurements(dev: Environment) -> list[float]:
    """What the newest analysis was answered: shares of errors; NaN without requests is left out."""
    runs = dev.items("argoproj.io/v1alpha1/analysisruns")
    newest = max(runs, key=lambda run: str(run["metadata"]["creationTimestamp"]))
    results: list[Any] = newest["status"]["metricResults"][0]["measurements"]
    values = [one["value"].strip("[]") for one in results if one.get("value", "[]") != "[]"]
    return [float(value) for value in values if value != "NaN"]


@contextmanager
def _visitors(dev: Environment) -> Iterator[Counter[int]]:
    """Someone looks at the list of alerts all the time; the answers, counted by status."""
    seen: Counter[int] = Counter()
    stop = threading.Event()

    def visit(browser: httpx.Client) -> None:
        while not stop.wait(0.2):
            try:
                # A new connection each time, so that each of the pods has its share.
                answer = browser.get("/alerts", headers={"Connection": "close"})
            except httpx.TransportError:
                seen[0] += 1
            else:
                seen[answer.status_code] += 1

    with dev.dashboard() as browser:
        thread = threading.Thread(target=visit, args=(browser,))
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()
