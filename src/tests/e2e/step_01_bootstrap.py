"""From an empty cluster to three environments, with the commands of the documentation."""

from __future__ import annotations

import shlex

import pytest

from gitops.layout import SERVICES
from lab import argocd, bootstrap, traefik
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.errors import CommandFailed
from lab.progress import info
from lab.releases import Version
from lab.waiting import until

#: Argo CD itself, the platform's parts, and everything of the two environments that sync themselves.
_PATIENCE = 420


def test_bootstrap_brings_up_dev_and_staging(
    delivery: Delivery, dev: Environment, staging: Environment
) -> None:
    # Given an empty cluster, and the repository served by git over HTTP
    kube = delivery.cluster.kube
    for what, reason in delivery.not_run.items():
        info(f"not run here: {what}: {reason}")

    # When bootstrap/ is applied, and the root after it
    bootstrap.run(delivery)

    # Then every Application that syncs itself is what the repository says, and healthy
    argocd.wait_until_healthy(
        kube,
        lambda name: not name.startswith("prod") and name != "cluster",
        "dev, staging and the platform are healthy",
        expected=("cluster", "dev", "staging", "prod"),
        seconds=_PATIENCE,
    )

    # And the pods run the images that were built from this checkout
    for environment in (dev, staging):
        for service in SERVICES:
            digest = delivery.releases[service, Version.BUILT].digest
            assert environment.runs(service, digest), (environment.name, service)


# Prometheus comes up meanwhile; step 4 begins what it measures.
@pytest.mark.usefixtures("measured")
def test_prod_waits_for_a_person(delivery: Delivery, prod: Environment) -> None:
    # Given prod's Applications, which nobody has synced
    kube = delivery.cluster.kube
    until(
        lambda: argocd.application(kube, "prod").sync == "Synced",
        "prod's root has made its Applications",
        seconds=120,
    )
    names = [name for name in argocd.applications(kube) if name.startswith("prod-")]
    until(
        lambda: argocd.application(kube, prod.services["notification-service"]).sync == "OutOfSync",
        "Argo CD has compared them",
        seconds=60,
    )
    assert kube.find(f"/api/v1/namespaces/{prod.namespace}") is None

    # When a person syncs them, as the button in the web UI does
    with argocd.api(delivery.cluster) as api:
        for name in names:
            api.sync(name)

    # Then prod runs
    argocd.wait_until_healthy(
        kube,
        lambda name: name in names,
        "prod is healthy",
        seconds=_PATIENCE,
        before_poll=lambda: traefik.admit_ingresses(delivery.cluster, prod.namespace),
    )


def test_prod_is_reached_through_its_ingresses_only(prod: Environment) -> None:
    # Given the Services and Ingresses that the API server accepted
    services = prod.items("v1/services")
    assert {service["spec"]["type"] for service in services} == {"ClusterIP"}
    hosts = {
        ingress["spec"]["rules"][0]["host"]: ingress
        for ingress in prod.items("networking.k8s.io/v1/ingresses")
    }
    assert len(hosts) == 2
    assert all(ingress["spec"]["tls"] for ingress in hosts.values())

    # Then the middlewares that the ingest names exist
    middlewares = {
        f"{prod.namespace}-{item['metadata']['name']}@kubernetescrd"
        for item in prod.items("traefik.io/v1alpha1/middlewares")
    }
    annotation = "traefik.ingress.kubernetes.io/router.middlewares"
    named = hosts["ingest.auditflow.example.org"]["metadata"]["annotations"][annotation]
    assert set(named.split(",")) == middlewares

    # And the dashboard's cookie is sent over HTTPS only
    with prod.dashboard() as browser:
        cookies = list(browser.cookies.jar)
        assert cookies
        assert all(cookie.secure for cookie in cookies)


#: A rule that permits to read all Secrets.
_ALL_SECRETS = '{"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}'
_LEVEL = "pod-security.kubernetes.io/enforce"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"label namespace NAMESPACE {_LEVEL}=privileged --overwrite", "must stay"),
        (f"label namespace NAMESPACE {_LEVEL}-", "must stay"),
        ("create rolebinding more --clusterrole=cluster-admin --user=somebody", "not in the list"),
        ("create role more --verb=get --resource=secrets", "not in the list"),
        (f"patch role secrets --type=merge --patch='{_ALL_SECRETS}'", "may only create Secrets"),
    ],
)
def test_a_commit_cannot_relax_pod_security_or_gain_permissions(
    prod: Environment, command: str, reason: str
) -> None:
    # When Argo CD applies a change whose kind the AppProject permits
    words = shlex.split(command.replace("NAMESPACE", prod.namespace))

    # Then the API server refuses it
    with pytest.raises(CommandFailed, match=reason):
        prod.cluster.kubectl(
            *words,
            f"--namespace={prod.namespace}",
            "--as=system:serviceaccount:argocd:argocd-application-controller",
            "--dry-run=server",
        )
