"""The cluster audits itself: a manual change becomes an alert with the name of the person."""

from __future__ import annotations

import ssl
import statistics
import time
from collections.abc import Callable

import httpx
import pytest

from lab import argocd, audit, control_plane, pki, shell
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.errors import LabError
from lab.kube import Object
from lab.progress import info
from lab.waiting import until

_PERSON = "mallory"
_OUTAGE_SECONDS = 60
_ARGO_CD_MANAGES = "notification-service"
Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def linked(delivery: Delivery, prod: Environment) -> None:
    """The API server sends its records to prod, as playbooks/link-audit.yaml makes it."""
    cluster = delivery.cluster
    if not cluster.created_here:
        pytest.skip("the API server of a given cluster is not ours to restart")
    service = prod.get("v1/services", "audit-event-generator-service")["spec"]
    flags = audit.to_webhook(
        cluster.run,
        address=f"{service['clusterIP']}:{service['ports'][0]['port']}",
        token=prod.secret("audit-event-generator")["INGEST_TOKEN"],
    )
    control_plane.start_api_server(
        cluster.run, cluster.processes, [*audit.to_file(cluster.run), *flags]
    )
    until(lambda: _answers(delivery), "the API server is back", seconds=60)


@pytest.fixture(scope="module")
def mallory(delivery: Delivery) -> Kubectl:
    """kubectl in the hands of a person who may do everything."""
    kubeconfig = pki.person(delivery.cluster.run, _PERSON, "system:masters")

    def kubectl(*words: str, stdin: str | None = None) -> str:
        program = delivery.cluster.kubectl_program
        return shell.run(program, f"--kubeconfig={kubeconfig}", *words, stdin=stdin)

    return kubectl


@pytest.mark.usefixtures("linked")
def test_what_a_person_does_by_hand_is_an_alert_with_the_name(
    delivery: Delivery, prod: Environment, staging: Environment, mallory: Kubectl
) -> None:
    # When a person does what nobody should
    pod = staging.pods("audit-event-generator")[0]["metadata"]["name"]
    mallory("exec", pod, f"--namespace={staging.namespace}", "--", "python3", "-V")
    mallory("get", "secrets", "--all-namespaces", "--output=name")
    for namespace in ("auditflow-dev", "auditflow-staging", "auditflow-prod"):
        mallory("get", "secrets", f"--namespace={namespace}", "--output=name")
    mallory("create", "clusterrolebinding", "back-door", "--clusterrole=cluster-admin", "--user=x")
    mallory("create", "namespace", "hideout")
    account = ("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    mallory(*account, "--namespace=hideout")  # without it a namespace takes no pod
    mallory("apply", "--filename=-", stdin=_PRIVILEGED_POD)
    mallory("delete", "namespace", "hideout", "--wait=false")
    mallory(
        *("set", "env", f"deployment/{_ARGO_CD_MANAGES}", "BACK_DOOR=open"),
        f"--namespace={staging.namespace}",
    )
    anonymous = _anonymous(25)

    # Then each is an alert in prod, with who did it and to what
    expected = {
        "Command run inside a pod": (_PERSON, pod),
        "Secrets listed across all namespaces": (_PERSON, "secrets"),
        "Secrets read in several namespaces": (_PERSON, ""),
        "Cluster administrator rights granted": (_PERSON, "back-door"),
        "Privileged container started": (_PERSON, "rooted"),
        "Namespace deleted": (_PERSON, "hideout"),
        "Change outside Argo CD": (_PERSON, _ARGO_CD_MANAGES),
        "Many anonymous requests refused": ("", ""),
    }
    assert anonymous == {httpx.codes.FORBIDDEN}

    def all_there() -> bool:
        alerts = prod.alerts()
        missing = [
            rule
            for rule, (actor, what) in expected.items()
            if not any(_matches(alert, rule, actor, what) for alert in alerts)
        ]
        found = {(item["rule"]["title"], item["actor"], item["resource"]) for item in alerts}
        assert not missing, f"no alert: {missing}; there are {sorted(map(str, found))}"
        return True

    until(all_there, f"{len(expected)} alerts", seconds=120, every=1)

    # And Argo CD restored the change, which is no alert, because Argo CD is not a person
    blamed = {
        item["actor"] for item in prod.alerts() if item["rule"]["title"] == "Change outside Argo CD"
    }
    assert blamed == {_PERSON}


@pytest.mark.usefixtures("linked")
def test_actions_of_people_in_argo_cd_are_reported_too(
    delivery: Delivery, prod: Environment
) -> None:
    # When a person rolls back in the web UI, and Argo CD's account does it for them
    name = prod.services[_ARGO_CD_MANAGES]
    with argocd.api(delivery.cluster) as api:
        api.rollback(name, api.history(name)[-1]["id"])

    # Then the alert names the person, and not the account
    def alert_names_the_person() -> bool:
        return any(
            _matches(alert, "Deployment in Argo CD without a commit", "admin", name)
            for alert in prod.alerts()
        )

    until(alert_names_the_person, "the alert names admin", seconds=60, every=1)


@pytest.mark.usefixtures("linked")
def test_an_outage_of_a_minute_slows_no_client_and_loses_nothing(
    delivery: Delivery, prod: Environment, mallory: Kubectl
) -> None:
    # Given how long the API server needs while AuditFlow listens
    before = _seconds_of_requests(delivery, _OUTAGE_SECONDS / 6)

    # When AuditFlow is unavailable for a minute, in which a person acts
    space = f"--namespace={prod.namespace}"
    mallory("scale", "deployment/audit-event-generator", "--replicas=0", space)
    until(lambda: not prod.pods("audit-event-generator"), "nobody listens", seconds=90)
    mallory("create", "clusterrolebinding", "while-away", "--clusterrole=cluster-admin", "--user=y")
    during = _seconds_of_requests(delivery, _OUTAGE_SECONDS)
    mallory("scale", "deployment/audit-event-generator", "--replicas=1", space)

    # Then every request was answered as before; figures are for people, timing decides nothing
    info(
        f"the API server answered in {_summary(before)}; while AuditFlow was unavailable in {_summary(during)}"
    )

    # And the actions in this minute are alerts after it has returned
    until(
        lambda: any(
            _matches(alert, "Cluster administrator rights granted", _PERSON, "while-away")
            for alert in prod.alerts()
        ),
        "the alert about what was done meanwhile",
        seconds=180,
        every=1,
    )


def _matches(alert: Object, rule: str, actor: str, what: str) -> bool:
    """Whether an alert is of a rule, about an actor (empty: anybody) and a thing (a part of it)."""
    return (
        alert["rule"]["title"] == rule
        and (not actor or alert["actor"] == actor)
        and what in (alert["resource"] or "")
    )


def _anonymous(times: int) -> set[int]:
    """Send requests without credentials, as a scanner does. Returns the status codes."""
    with httpx.Client(verify=_trusting(), base_url=pki.SERVER, trust_env=False) as client:
        return {client.get("/api/v1/secrets").status_code for _ in range(times)}


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _seconds_of_requests(delivery: Delivery, seconds: float) -> list[float]:
    """Read and write small objects for a time. Returns the durations. No request may fail."""
    kube, elapsed = delivery.cluster.kube, []
    path = "/api/v1/namespaces/default/configmaps"
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
        start = time.monotonic()
        kube.create(path, {"metadata": {"generateName": "latency-"}, "data": {"n": str(number)}})
        elapsed.append(time.monotonic() - start)
        time.sleep(0.1)
    for item in kube.items(path):
        if item["metadata"]["name"].startswith("latency-"):
            kube.delete(f"{path}/{item['metadata']['name']}")
    return elapsed


def _summary(elapsed: list[float]) -> str:
    slow = statistics.quantiles(elapsed, n=20)[-1]
    return f"{statistics.median(elapsed) * 1000:.1f} ms, 95 % within {slow * 1000:.1f} ms ({len(elapsed)})"


def _answers(delivery: Delivery) -> bool:
    try:  # the connections of before are gone
        return bool(delivery.cluster.kube.get("/version"))
    except LabError:
        return False


_PRIVILEGED_POD = """
apiVersion: v1
kind: Pod
metadata: {name: rooted, namespace: hideout}
spec:
  containers:
  - name: rooted
    image: registry.k8s.io/pause:3.10
    securityContext: {privileged: true}
"""
