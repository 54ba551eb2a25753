"""The values of the Prometheus stack: exactly the metrics of rules and dashboards are scraped."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

_METRIC = re.compile(r"\b((?:container|kube)_[a-z_]+)")
#: What OpenCost shows, beside the node's own exporter of containers.
_OF_OPENCOST = {"container_cpu_allocation", "container_memory_allocation_bytes"}
#: Parts of K3s, which shows the metrics of all of them at the kubelet's address.
_IN_ONE_PROCESS = (
    "kubeApiServer", "kubeControllerManager", "kubeScheduler", "kubeProxy", "kubeEtcd",
)  # fmt: skip


@pytest.fixture(scope="module")
def values(root: Path) -> dict[str, Any]:
    text = (root / "monitoring/values/prometheus-stack.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture(scope="module")
def required(root: Path) -> set[str]:
    files = [*(root / "monitoring/rules").glob("*.yaml"),
             *(root / "monitoring/boards/json").glob("*.json")]  # fmt: skip
    return {name for file in files for name in _METRIC.findall(file.read_text())}


def test_the_queried_metrics_of_containers_are_kept(
    values: dict[str, Any], required: set[str]
) -> None:
    (rule,) = values["kubelet"]["serviceMonitor"]["cAdvisorMetricRelabelings"]
    assert rule["action"] == "keep"
    names = {item for item in required if item.startswith("container_")} - _OF_OPENCOST
    assert names
    assert [name for name in sorted(names) if not re.fullmatch(rule["regex"], name)] == []


def test_the_queried_metrics_of_kubernetes_are_collected(
    values: dict[str, Any], required: set[str]
) -> None:
    kinds = {collector.rstrip("s") for collector in values["kube-state-metrics"]["collectors"]}
    names = {item for item in required if item.startswith("kube_")}
    assert names
    assert [name for name in sorted(names) if name.split("_")[1] not in kinds] == []


def test_k3s_is_scraped_once(values: dict[str, Any]) -> None:
    for part in _IN_ONE_PROCESS:
        assert values[part] == {"enabled": False}


def test_a_budget_of_thirty_days_can_be_computed(values: dict[str, Any]) -> None:
    spec = values["prometheus"]["prometheusSpec"]
    assert int(spec["retention"].removesuffix("d")) > 30
    assert "exemplar-storage" in spec["enableFeatures"]


def test_everything_is_bounded(values: dict[str, Any]) -> None:
    containers = (
        values["prometheusOperator"], values["prometheus"]["prometheusSpec"],
        values["alertmanager"]["alertmanagerSpec"], values["grafana"],
        values["grafana"]["sidecar"], values["kube-state-metrics"],
        values["prometheus-node-exporter"],
    )  # fmt: skip
    for container in containers:
        assert container["resources"]["requests"]["memory"]
        assert container["resources"]["limits"]["memory"]


def test_grafana_requires_a_sign_in_and_has_no_default_password(
    values: dict[str, Any],
) -> None:
    from provisioning.catalogue import MONITORING

    grafana = values["grafana"]
    admin = grafana["admin"]
    assert {admin["userKey"], admin["passwordKey"]} == MONITORING[admin["existingSecret"]].keys()
    assert "adminPassword" not in grafana
    assert grafana["grafana.ini"]["auth.anonymous"]["enabled"] is False
    assert grafana["grafana.ini"]["users"]["allow_sign_up"] is False


def test_data_sources_link_to_each_other(root: Path, values: dict[str, Any]) -> None:
    sources = {
        datasource["uid"]: datasource
        for part in ("logs", "traces")
        for datasource in yaml.safe_load(
            (root / f"monitoring/{part}/data-source.yaml").read_text()
        )["datasources"]
    }
    assert sources.keys() == {"loki", "tempo"}
    exemplars = values["grafana"]["sidecar"]["datasources"]["exemplarTraceIdDestinations"]
    assert exemplars == {"datasourceUid": "tempo", "traceIdLabelName": "trace_id"}
    (field,) = sources["loki"]["jsonData"]["derivedFields"]
    assert field["datasourceUid"] == "tempo"
    tempo = sources["tempo"]["jsonData"]
    assert tempo["tracesToLogsV2"]["datasourceUid"] == "loki"
    assert tempo["tracesToMetrics"]["datasourceUid"] == "prometheus"


def test_the_errors_of_the_audit_log_are_not_dropped(root: Path) -> None:
    values = yaml.safe_load((root / "monitoring/values/prometheus-stack.yaml").read_text())
    (drop,) = values["kubelet"]["serviceMonitor"]["metricRelabelings"]
    dropped = re.compile(drop["regex"])
    assert drop["action"] == "drop"
    for name in ("apiserver_request_duration_seconds_bucket", "apiserver_audit_level_total",
                 "apiserver_admission_step_total", "apiserver_authentication_x", "etcd_a", "rest_client_b"):  # fmt: skip
        assert dropped.fullmatch(name), name
    for name in ("apiserver_audit_error_total", "apiserver_audit_event_total", "kubelet_x"):
        assert not dropped.fullmatch(name), name
