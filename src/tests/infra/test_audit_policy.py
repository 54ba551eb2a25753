"""The audit policy of the API server: it records what the rules read, and no secret."""

import itertools
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import audit_analysis
from audit_analysis.ruletools import ruletest
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import bounds, event

from .audit_policy import Policy, Request, groups_of

RULES = Path(audit_analysis.__file__).parent / "rules/kubernetes"
TESTS = ruletest.collect([RULES])
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
USERS = (
    "alice@example.com", "system:admin", "system:anonymous", "", "system:apiserver",
    "system:node:k3s-1", "system:kube-controller-manager",
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:serviceaccount:argocd:argocd-application-controller",
    "system:serviceaccount:argocd:argocd-server", "system:serviceaccount:shop:web",
)  # fmt: skip
#: The API groups of kinds that the tests of the rules name without theirs.
GROUPS = {
    "deployments": "apps", "daemonsets": "apps", "statefulsets": "apps", "cronjobs": "batch",
    "replicasets": "apps",
    "clusterroles": "rbac.authorization.k8s.io", "clusterrolebindings": "rbac.authorization.k8s.io",
    "roles": "rbac.authorization.k8s.io", "rolebindings": "rbac.authorization.k8s.io",
}  # fmt: skip


@pytest.fixture(scope="module")
def policy(server_files: Path) -> Policy:
    return Policy(server_files / "audit/policy.yaml")


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([RULES], lateness=900_000)


def who(user: str) -> dict[str, Any]:
    return {"user": user, "groups": groups_of(user) if user else ()}


def recorded(test: ruletest.RuleTest, policy: Policy) -> ruletest.RuleTest:
    """The test with the events that would have come, had the API server this policy."""
    left = []
    for encoded in test.events:
        decoded = event.decode(encoded)
        assert decoded.record is not msgspec.UNSET
        record = msgspec.json.decode(decoded.record)
        reference = record.get("objectRef")
        if reference:
            reference.setdefault("apiGroup", GROUPS.get(reference["resource"]))
        kept = policy.left_of(record)
        if kept is not None:
            raw = msgspec.Raw(msgspec.json.encode(kept))
            left.append(event.encode(msgspec.structs.replace(decoded, record=raw)))
    return msgspec.structs.replace(test, events=tuple(left))


@pytest.mark.parametrize("test", TESTS, ids=lambda value: f"{value.path.stem}: {value.name}")
def test_every_rule_finds_in_the_log_what_it_needs(
    test: ruletest.RuleTest, policy: Policy, rules: RuleSet
) -> None:
    assert recorded(test, policy).failure(rules) is None


@pytest.mark.parametrize(
    ("group", "resource"),
    [
        ("", "secrets"),
        ("", "serviceaccounts/token"),
        ("authentication.k8s.io", "tokenreviews"),
        ("certificates.k8s.io", "certificatesigningrequests"),
        ("helm.cattle.io", "helmchartconfigs"),
    ],
)
@pytest.mark.parametrize("user", USERS)
def test_what_holds_a_secret_is_never_recorded_with_its_contents_and_never_left_out(
    policy: Policy, user: str, group: str, resource: str
) -> None:
    for verb, namespace in itertools.product(
        VERBS, ("", "kube-system", "argocd", "auditflow-prod")
    ):
        request = Request(
            verb=verb, group=group, resource=resource, namespace=namespace, **who(user)
        )
        assert policy.rule(request)["level"] == "Metadata", request


def test_a_request_without_an_identity_is_always_recorded(policy: Policy) -> None:
    for verb, resource in itertools.product(VERBS, ("pods", "leases", "events", "secrets")):
        assert policy.rule(Request(verb=verb, resource=resource))["level"] != "None"
    for path in ("/", "/api", "/apis/apps/v1", "/version", "/metrics"):
        assert policy.rule(Request(verb="get", path=path))["level"] != "None"


def test_what_people_do_is_always_recorded(policy: Policy) -> None:
    for user, verb in itertools.product(("alice@example.com", "system:admin"), VERBS):
        for kind in ("pods", "configmaps", "nodes", "namespaces", "endpoints"):
            assert policy.rule(Request(verb=verb, resource=kind, **who(user)))["level"] != "None"


def test_config_maps_show_their_contents_only_where_they_come_from_git(policy: Policy) -> None:
    def level(namespace: str) -> Any:
        request = Request(
            verb="update", resource="configmaps", namespace=namespace, **who("alice@example.com")
        )
        return policy.rule(request)["level"]

    assert level("auditflow-prod") == "RequestResponse"
    assert level("shop") == level("kube-system") == "Metadata"


@pytest.mark.parametrize(
    "request_",
    [
        Request(verb="get", path="/readyz"),
        Request(verb="get", path="/apis/apps/v1", **who("alice@example.com")),
        Request(verb="update", group="coordination.k8s.io", resource="leases",
                **who("system:kube-scheduler")),
        Request(verb="patch", resource="nodes/status", **who("system:node:k3s-1")),
        Request(verb="create", resource="events", **who("system:node:k3s-1")),
        Request(verb="watch", resource="pods", **who("system:serviceaccount:argocd:x")),
        Request(verb="patch", group="argoproj.io", resource="applications",
                **who("system:serviceaccount:argocd:argocd-application-controller")),
    ],
)  # fmt: skip
def test_noise_is_left_out(policy: Policy, request_: Request) -> None:
    assert policy.rule(request_)["level"] == "None"


def test_each_exclusion_has_a_reason(server_files: Path) -> None:
    lines = (server_files / "audit/policy.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("- level: None"):
            above = lines[number - 1]
            assert "#" in line or above.startswith("#"), f"line {number + 1} gives no reason"


def flags(path: Path) -> dict[str, str]:
    """The flags of kube-apiserver in a file of K3s's configuration."""
    configuration = yaml.safe_load(path.read_text())["kube-apiserver-arg+"]
    return dict(item.split("=", 1) for item in configuration)


def test_the_log_can_never_hold_a_request_up(server_files: Path) -> None:
    log = flags(server_files / "config.yaml.d/20-audit.yaml")
    webhook = flags(server_files / "config.yaml.d/21-audit-webhook.yaml")

    assert log["audit-log-mode"] == webhook["audit-webhook-mode"] == "batch"
    assert int(log["audit-log-maxsize"]) * (int(log["audit-log-maxbackup"]) + 1) <= 1100
    assert webhook["audit-webhook-batch-throttle-enable"] == "true"
    assert 0 < int(webhook["audit-webhook-batch-buffer-size"]) <= 10_000
    assert webhook["audit-webhook-truncate-enabled"] == "true"


def test_what_the_webhook_sends_fits_what_the_entrance_takes(server_files: Path) -> None:
    webhook = flags(server_files / "config.yaml.d/21-audit-webhook.yaml")

    # The fields around a record, and those that the adapter adds, take some KiB.
    assert (
        int(webhook["audit-webhook-truncate-max-event-size"]) <= bounds.MAX_DOCUMENT_BYTES - 16384
    )
    assert int(webhook["audit-webhook-truncate-max-batch-size"]) <= 16 * 1024 * 1024


def test_a_minute_without_auditflow_loses_nothing(server_files: Path) -> None:
    webhook = flags(server_files / "config.yaml.d/21-audit-webhook.yaml")
    first = int(re.fullmatch(r"(\d+)s", webhook["audit-webhook-initial-backoff"])[1])  # type: ignore[index]

    # k8s.io/apiserver, pkg/util/webhook: five tries, each wait half as long again.
    waits = [first * 1.5**step for step in range(4)]
    assert sum(waits) > 60
