"""The optional components work as the comment at their top describes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_analysis.archive.settings import Settings
from auditflow.settings import load

from . import test_policies

Object = dict[str, Any]
SERVICES = (
    "audit-event-generator",
    "audit-log-analysis",
    "event-audit-dashboard",
    "notification-service",
)
OptedIn = Callable[..., list[Object]]


def test_traces_of_each_service_have_a_way_of_their_own(opted_in: OptedIn, kit: Any) -> None:
    names = []
    for service in SERVICES:
        rendered = opted_in(service, "traces")
        (policy,) = [item for item in kit.of_kind(rendered, "NetworkPolicy")
                     if item["metadata"]["name"].endswith(".traces")]  # fmt: skip
        (deployment,) = kit.of_kind(rendered, "Deployment")
        pod = kit.pod_template(deployment)
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        assert chosen.items() <= pod["metadata"]["labels"].items()
        assert chosen["app.kubernetes.io/name"] == service
        variables = {
            entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]
        }
        assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://traces-collector.monitoring:4318"
        test_policies.test_all_objects_and_their_pods_are_labelled(rendered, "prod", kit)
        names.append(policy["metadata"]["name"])
    # Argo CD has an Application for each service: no two may make the same object
    assert len(set(names)) == len(SERVICES)


def test_keda_reads_the_queue_of_its_environment(opted_in: OptedIn, root: Path, kit: Any) -> None:
    head = (root / "apps/components/keda/kustomization.yaml").read_text().split("apiVersion")[0]
    lines = [line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   ")]
    example = yaml.safe_load("\n".join(lines))
    rendered = opted_in("audit-log-analysis", "keda", replacements=example["replacements"])
    (scaled,) = kit.of_kind(rendered, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert '{namespace="auditflow-prod", queue="audit_events"}' in trigger["metadata"]["query"]
    assert not kit.of_kind(rendered, "HorizontalPodAutoscaler")
    test_policies.test_all_objects_and_their_pods_are_labelled(rendered, "prod", kit)


def test_keda_without_an_environment_reads_no_other_queue(opted_in: OptedIn, kit: Any) -> None:
    (scaled,) = kit.of_kind(opted_in("audit-log-analysis", "keda"), "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert 'namespace="NAMESPACE"' in trigger["metadata"]["query"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"


def test_the_archive_reads_the_settings_of_its_bucket_from_a_secret(
    opted_in: OptedIn, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kit: Any
) -> None:
    # Given the Secret that the how-to describes, next to the Secret of the service
    page = (root / "docs/how-to/keep-archived-events.md").read_text("utf-8")
    settings = dict(re.findall(r"--from-literal=(\w+)=(\S+)", page))
    for name, value in {**settings, "RABBITMQ_PASS": "a", "PG_PASSWORD": "b"}.items():
        (tmp_path / name).write_text(value)
    rendered = opted_in("audit-event-archive", "archive-s3")
    (deployment,) = kit.of_kind(rendered, "Deployment")
    pod = kit.pod_template(deployment)["spec"]
    (volume,) = (item for item in pod["volumes"] if item["name"] == "secrets")
    assert [source["secret"]["name"] for source in volume["projected"]["sources"]] == [
        "audit-event-archive",
        "audit-event-archive-s3",
    ]
    # when the process reads its settings as in the pod
    for variable in pod["containers"][0]["env"]:
        if "value" in variable:
            value = variable["value"]
            if value.startswith("/run/secrets"):
                (tmp_path / Path(value).name).touch()
                value = str(tmp_path / Path(value).name)
            monkeypatch.setenv(variable["name"], value)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    loaded = load(Settings)
    # then they have the bucket and its keys, and the pod may connect to S3
    assert loaded.archive_bucket == settings["ARCHIVE_BUCKET"]
    assert loaded.archive_s3_endpoint == settings["ARCHIVE_S3_ENDPOINT"]
    assert loaded.archive_s3_secret_access_key is not None
    assert loaded.retention_days() == 365
    (policy,) = kit.of_kind(rendered, "NetworkPolicy")
    assert {"ports": [{"port": 443}]} in policy["spec"]["egress"]


def test_cert_manager_creates_the_secrets_that_the_job_would_create(
    opted_in: OptedIn, kit: Any
) -> None:
    from provisioning import certificates

    rendered = opted_in("secrets", "cert-manager")
    created = {item["spec"]["secretName"]: item for item in kit.of_kind(rendered, "Certificate")}
    assert created.keys() == set(certificates.SECRETS)
    for secret, (service, *_) in certificates.SERVERS.items():
        spec = created[secret]["spec"]
        assert {service, "localhost"} <= set(spec["dnsNames"])
        assert spec["issuerRef"] == {"name": "environment"}
    for workload in kit.of_kind(rendered, "Job", "CronJob"):
        (container,) = kit.pod_template(workload)["spec"]["containers"]
        assert container["env"] == [{"name": "CERTIFICATES_FROM", "value": "cert-manager"}]
    test_policies.test_all_objects_and_their_pods_are_labelled(rendered, "prod", kit)
