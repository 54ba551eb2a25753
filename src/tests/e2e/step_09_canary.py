"""A canary release: a good version replaces the old version in steps, a bad version is aborted.

The releases begin with step 4 and run in the background, because they mostly wait.
"""

from __future__ import annotations

import httpx
import pytest

from lab import prometheus
from lab.bootstrap import Delivery
from lab.canary import Canaries
from lab.progress import info
from lab.waiting import until


def test_a_good_version_takes_over(canaries: Canaries) -> None:
    good = canaries.good.result()
    info(
        f"{dict(good.answers)} answers; the share of errors, as the analysis saw it: {good.shares}"
    )

    # Prometheus was asked about it, and answered with figures of the new pods
    assert good.shares
    assert all(share < 0.01 for share in good.shares)
    # and nobody who looked at the dashboard saw an error
    assert set(good.answers) == {httpx.codes.OK}


def test_a_bad_version_aborts_by_itself(canaries: Canaries) -> None:
    bad = canaries.bad.result()
    info(f"{dict(bad.answers)} answers until it was aborted; its share of errors: {bad.shares}")
    assert any(share >= 0.01 for share in bad.shares)


def test_opting_out_interrupts_no_request(canaries: Canaries) -> None:
    assert set(canaries.out.result()) == {httpx.codes.OK}


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


@pytest.mark.usefixtures("all_steps")
def test_delivery_metrics_reach_prometheus(delivery: Delivery) -> None:
    def measured() -> bool:
        found = prometheus.query(delivery.cluster, 'auditflow_dora_deployments{environment="prod"}')
        assert found, "no sample"
        assert float(found[0]["value"][1]) >= 1, found
        drift = prometheus.query(delivery.cluster, "count(auditflow_drift_resources)")
        return float(drift[0]["value"][1]) > 0

    until(measured, "Prometheus has the DORA metrics of prod", seconds=120, every=1)
