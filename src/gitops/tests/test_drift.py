"""The drift report, from Applications as Argo CD writes them."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from gitops.cli import main


def application(name: str, project: str, *resources: dict[str, Any], **status: Any) -> Any:
    automated = {} if project == "auditflow-prod" else {"selfHeal": True}
    return {
        "metadata": {"name": name},
        "spec": {"project": project, "syncPolicy": {"automated": automated}},
        "status": {"sync": {"status": "Synced"}, "resources": list(resources), **status},
    }


def resource(name: str, status: str = "OutOfSync", **more: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "namespace": "here", "name": name, "status": status, **more}


APPLICATIONS = {
    "items": [
        application(
            "prod-redis",
            "auditflow-prod",
            resource("redis"),
            resource("extra", requiresPruning=True),
            resource("same", status="Synced"),
        ),
        application(
            "dev-redis",
            "auditflow-dev",
            resource("redis"),
            operationState={"operation": {"sync": {"autoHealAttemptsCount": 3}}},
        ),
        {"metadata": {"name": "new"}, "spec": {"project": "platform"}},
    ]
}


def run(document: str, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["drift", "-", *arguments], input=document)
    return result.exit_code, result.output


def test_each_resource_that_differs_is_a_line() -> None:
    code, output = run(json.dumps(APPLICATIONS))
    assert code == 0
    assert output == (
        "3 Applications, 3 resources differ from git.\n\n"
        "Argo CD could not compare: `new`\n\n"
        "| environment | Application | resource | status | corrected by Argo CD |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| dev | `dev-redis` | `Deployment here/redis` | OutOfSync | yes |\n"
        "| prod | `prod-redis` | `Deployment here/redis` | OutOfSync | no |\n"
        "| prod | `prod-redis` | `Deployment here/extra` | Extra | no |\n"
    )


def test_metrics_count_the_resources_of_each_application() -> None:
    _, output = run(json.dumps(APPLICATIONS), "--metrics")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(output)
        for sample in family.samples
    }
    assert samples[("auditflow_drift_resources", "prod", "prod-redis", "OutOfSync")] == 1
    assert samples[("auditflow_drift_resources", "prod", "prod-redis", "Extra")] == 1
    assert samples[("auditflow_drift_resources", "platform", "new", "OutOfSync")] == 0
    assert samples[("auditflow_drift_self_heals", "dev", "dev-redis")] == 3


def test_names_cannot_add_metrics_or_markup() -> None:
    evil = application('a"} 1\nb', "auditflow-dev", resource("x|`y\n| z |"))
    document = json.dumps({"items": [evil]})
    _, metrics = run(document, "--metrics")
    names = {
        sample.labels["application"]
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert names == {'a"} 1\nb'}
    _, table = run(document)
    assert table.splitlines()[-1].count("|") == 6


@pytest.mark.parametrize("document", ["", "[]", '{"items": 3}', '{"items": [1]}', "[" * 100_000])
def test_other_documents_are_refused(document: str) -> None:
    code, output = run(document)
    assert code == 1
    assert output.startswith("Error: ")
