"""Every workload is monitored, or has an annotation with the reason why not."""

from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

#: Whose work an objective measures, where its name is not the workload's.
ALSO = {"auditflow": ("audit-log-analysis",)}
_WITHOUT = "auditflow.io/without-"


def servers(objects: list[Object], kit: Any) -> list[Object]:
    """The workloads that always run. Jobs end; Argo CD and BackupMissing report their failures."""
    found: list[Object] = kit.of_kind(objects, "Deployment", "StatefulSet", "Rollout")
    assert len(found) == 8
    return found


def why_not(workload: Object, what: str) -> bool:
    """Whether it says why it has none."""
    reason = workload["metadata"].get("annotations", {}).get(_WITHOUT + what, "")
    return len(reason.split()) > 5


def chosen(selector: Object, labels: dict[str, str]) -> bool:
    return bool(selector["matchLabels"].items() <= labels.items())


def test_each_is_scraped_where_it_answers(objects: list[Object], kit: Any) -> None:
    monitors = kit.of_kind(objects, "ServiceMonitor")
    services = kit.of_kind(objects, "Service")
    for workload in servers(objects, kit):
        template = kit.pod_template(workload)
        labels = template["metadata"]["labels"]
        ours = [item for item in services if item["spec"]["selector"].items() <= labels.items()]
        scraped = [
            (service, endpoint)
            for service in ours
            for monitor in monitors
            if chosen(monitor["spec"]["selector"], service["metadata"]["labels"])
            for endpoint in monitor["spec"]["endpoints"]
        ]
        assert scraped, kit.name(workload)
        named = {
            port["name"]
            for container in template["spec"]["containers"]
            + template["spec"].get("initContainers", [])
            for port in container.get("ports", [])
        }
        for service, endpoint in scraped:
            if "targetPort" in endpoint:
                assert endpoint["targetPort"] in named
            else:
                assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert labels["prometheus_scrape"] == "true", "else the network lets nobody scrape it"


def test_no_service_leads_to_the_metrics_of_our_services(objects: list[Object], kit: Any) -> None:
    for workload in kit.of_kind(objects, "Deployment"):
        template = kit.pod_template(workload)
        labels = template["metadata"]["labels"]
        (container,) = template["spec"]["containers"]
        environment = {item["name"]: item.get("value") for item in container["env"]}
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert str(ports["metrics"]) == environment["METRICS_PORT"], kit.name(workload)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == "metrics"
        for service in kit.of_kind(objects, "Service"):
            if service["spec"]["selector"].items() <= labels.items():
                targets = {port["targetPort"] for port in service["spec"]["ports"]}
                assert not targets & {"metrics", ports["metrics"]}, kit.name(service)


def test_prometheus_jobs_have_the_names_that_rules_use(objects: list[Object], kit: Any) -> None:
    jobs = {
        next(
            (rule["replacement"] for endpoint in monitor["spec"]["endpoints"]
             for rule in endpoint.get("relabelings", []) if rule.get("targetLabel") == "job"),
            monitor["metadata"]["labels"][monitor["spec"]["jobLabel"]],
        )
        for monitor in kit.of_kind(objects, "ServiceMonitor")
    }  # fmt: skip
    assert jobs == {
        "audit-event-archive", "audit-event-generator", "audit-log-analysis",
        "event-audit-dashboard",
        "notification-service", "postgresql", "rabbitmq", "redis",
    }  # fmt: skip


def test_no_two_endpoints_are_one_target(objects: list[Object], kit: Any) -> None:
    for monitor in kit.of_kind(objects, "ServiceMonitor"):
        endpoints = monitor["spec"]["endpoints"]
        if len({endpoint.get("port") or endpoint["targetPort"] for endpoint in endpoints}) < len(
            endpoints
        ):
            for endpoint in endpoints:
                assert {"sourceLabels": ["__metrics_path__"], "targetLabel": "metrics_path"} in (
                    endpoint["relabelings"]
                ), kit.name(monitor)


def test_each_workload_has_a_disruption_budget_or_a_reason(objects: list[Object], kit: Any) -> None:
    budgets = kit.of_kind(objects, "PodDisruptionBudget")
    for workload in servers(objects, kit):
        labels = kit.pod_template(workload)["metadata"]["labels"]
        has_one = any(chosen(budget["spec"]["selector"], labels) for budget in budgets)
        assert has_one is not why_not(workload, "budget"), kit.name(workload)


def test_each_has_a_network_policy_of_its_own(objects: list[Object], kit: Any) -> None:
    policies = [
        item
        for item in kit.of_kind(objects, "NetworkPolicy")
        if "app.kubernetes.io/name" in item["spec"]["podSelector"].get("matchLabels", {})
    ]
    for workload in servers(objects, kit):
        labels = kit.pod_template(workload)["metadata"]["labels"]
        assert any(chosen(policy["spec"]["podSelector"], labels) for policy in policies)


def test_each_service_has_an_objective_or_a_reason(
    objects: list[Object], root: Path, kit: Any
) -> None:
    services = {
        yaml.safe_load(file.read_text())["service"]
        for file in (root / "monitoring/slos").glob("*.yaml")
        if not file.stem.endswith("_tests")
    }
    measured = services | {name for service in services for name in ALSO.get(service, ())}
    for workload in servers(objects, kit):
        has_one = workload["metadata"]["name"] in measured
        assert has_one is not why_not(workload, "objective"), kit.name(workload)
