"""The upgrade from the last release, while clients send events and read alerts."""

from __future__ import annotations

from typing import Any

import httpx

from gitops import layout
from lab import argocd, bootstrap, events, paths, traefik, visitors
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.progress import info
from lab.releases import Version
from lab.waiting import until

_PATIENCE = 420
_ACTOR = "mallory-before-the-upgrade"
_STREAM = "upgrade"


def test_the_last_release_runs_with_data(delivery: Delivery, prod: Environment) -> None:
    # Given an empty cluster, and prod of the last release, which a person syncs
    bootstrap.run(delivery)
    kube = delivery.cluster.kube
    until(
        lambda: argocd.application(kube, "prod").sync == "Synced",
        "prod's root has created its Applications",
        seconds=180,
    )
    _sync(delivery)
    _wait_until_healthy(delivery, prod)
    for service in layout.SERVICES:
        assert prod.runs(service, delivery.releases[service, Version.LAST].digest), service

    # And an alert that a person works on
    with prod.generator() as client:
        client.post("/generate_event", json=events.file_change(_ACTOR)).raise_for_status()
    until(
        lambda: events.counts(prod.alerts(), _ACTOR) == {_ACTOR: 1},
        "the alert exists",
        seconds=60,
    )
    path = f"/api/v1/alerts/{_alert(prod)['alert_id']}"
    with prod.api() as client:
        version = client.get(path).raise_for_status().headers["ETag"]
        client.post(
            f"{path}/acknowledge", json={}, headers={"If-Match": version}
        ).raise_for_status()
    assert _alert(prod)["status"] == "acknowledged"


def test_upgrade_is_not_visible_to_users(delivery: Delivery, prod: Environment) -> None:
    before = _alert(prod)
    servers = _pods_of_servers(prod)

    with (
        prod.api() as api,
        prod.dashboard() as browser,
        visitors.asking(api, "/alerts?limit=20") as lists,
        visitors.asking(browser, "/alerts") as pages,
        events.streaming(prod, _STREAM) as stream,
    ):
        until(lambda: len(stream.accepted) > 5, "events are accepted", seconds=30)

        # When this release is merged, and a person syncs prod
        delivery.repository.replace(paths.REPOSITORY)
        bootstrap.adapt(delivery, Version.BUILT)
        commit = delivery.deliver("This release", "cluster", "prod")
        delivery.wait_for("prod", commit, health=None, seconds=180)
        argocd.refresh(delivery.cluster.kube, *_names(delivery))
        for service in prod.services.values():
            delivery.wait_for(service, commit, sync="OutOfSync", health=None)
        _sync(delivery)

        # Then prod runs it
        def upgraded() -> bool:
            for service in layout.SERVICES:
                digest = delivery.releases[service, Version.BUILT].digest
                assert prod.runs(service, digest), f"{service} does not run this release yet"
            return True

        until(upgraded, "prod runs this release", seconds=_PATIENCE, every=1)
        _wait_until_healthy(delivery, prod)
        accepted = len(stream.accepted)
        until(lambda: len(stream.accepted) > accepted + 5, "events are accepted", seconds=30)

    info(f"lists of alerts: {dict(lists)}; pages: {dict(pages)}")
    info(f"{len(stream.accepted)} bursts accepted, {stream.refused} posts refused")
    replaced = servers.keys() - {
        name for name, uid in _pods_of_servers(prod).items() if servers.get(name) == uid
    }

    # And no request failed. While a data server of one replica restarts, services answer 503, and
    # a Service without a ready pod refuses connections.
    permitted: set[int | str] = {httpx.codes.OK}
    if replaced:
        permitted |= {httpx.codes.SERVICE_UNAVAILABLE, httpx.ConnectError.__name__}
        info(f"this release needs a maintenance window: it restarts {sorted(replaced)}")
    assert set(lists) <= permitted
    assert set(pages) <= permitted
    if not replaced:
        assert stream.refused == 0

    # And every accepted event counts in exactly one alert
    expected = dict.fromkeys(stream.accepted, events.BURST)
    until(
        lambda: events.counts(prod.alerts(), _STREAM) == expected,
        f"{len(expected)} alerts of {events.BURST} events each",
        seconds=120,
        every=1,
    )

    # And the data of the last release are unchanged
    after = _alert(prod)
    for field in ("alert_id", "status", "count", "first_seen"):
        assert after[field] == before[field], field


def _alert(prod: Environment) -> dict[str, Any]:
    (found,) = [alert for alert in prod.alerts() if alert["actor"] == _ACTOR]
    return found


def _names(delivery: Delivery) -> list[str]:
    return [name for name in argocd.applications(delivery.cluster.kube) if name.startswith("prod-")]


def _sync(delivery: Delivery) -> None:
    """Sync each Application of prod with *Prune*, as a person does in the web UI."""
    with argocd.api(delivery.cluster) as api:
        for name in _names(delivery):
            api.sync(name, prune=True)


def _wait_until_healthy(delivery: Delivery, prod: Environment) -> None:
    argocd.wait_until_healthy(
        delivery.cluster.kube,
        lambda name: name.startswith("prod-"),
        "all Applications of prod are Synced and Healthy",
        seconds=_PATIENCE,
        before_poll=lambda: traefik.admit_ingresses(delivery.cluster, prod.namespace),
    )


def _pods_of_servers(prod: Environment) -> dict[str, str]:
    """The uid of each pod of the data services, by name."""
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in prod.items("v1/pods")
        if any(owner["kind"] == "StatefulSet" for owner in pod["metadata"]["ownerReferences"])
    }
