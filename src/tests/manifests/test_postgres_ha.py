"""The policies of the other workloads stay the same with three instances of PostgreSQL."""

from pathlib import Path
from typing import Any

import pytest

from . import test_policies

Object = dict[str, Any]


@pytest.fixture(scope="module")
def objects(root: Path, kit: Any) -> list[Object]:
    rendered: list[Object] = kit.render(root / "apps/data/postgres/ha")
    return rendered


@pytest.fixture(scope="module")
def exporter(objects: list[Object], kit: Any) -> Object:
    (deployment,) = kit.of_kind(objects, "Deployment")
    found: Object = deployment
    return found


@pytest.mark.parametrize(
    "rule",
    [
        test_policies.test_every_container_is_confined,
        test_policies.test_every_container_has_requests_and_limits,
        test_policies.test_every_account_that_is_used_exists,
        test_policies.test_images_are_pinned,
    ],
    ids=lambda rule: rule.__name__.removeprefix("test_"),
)
def test_it_keeps_the_rules(rule: Any, objects: list[Object], kit: Any) -> None:
    rule(objects, kit)


def test_the_deletion_of_the_data_needs_a_confirmation(objects: list[Object], kit: Any) -> None:
    (cluster,) = kit.of_kind(objects, "Cluster")
    options = cluster["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
    assert {"Prune=confirm", "Delete=confirm"} <= set(options.split(","))


def test_the_exporter_is_probed_where_it_answers(exporter: Object, kit: Any) -> None:
    (container,) = kit.pod_template(exporter)["spec"]["containers"]
    for kind in ("startup", "liveness", "readiness"):
        assert container[f"{kind}Probe"]["httpGet"] == {"path": "/", "port": "metrics"}


def test_the_exporter_is_that_of_the_base(exporter: Object, kit: Any, root: Path) -> None:
    (base,) = kit.of_kind(kit.render(root / "apps/data/postgres/base"), "StatefulSet")
    (ours,) = kit.pod_template(exporter)["spec"]["containers"]
    (expected_rules,) = [
        container
        for container in kit.pod_template(base)["spec"]["containers"]
        if container["name"] == ours["name"]
    ]
    assert ours["image"] == expected_rules["image"]


def test_prometheus_scrapes_it_as_postgresql(
    objects: list[Object], exporter: Object, kit: Any
) -> None:
    (monitor,) = kit.of_kind(objects, "ServiceMonitor")
    (service,) = kit.of_kind(objects, "Service")
    labels = kit.pod_template(exporter)["metadata"]["labels"]
    assert labels["prometheus_scrape"] == "true"
    assert service["spec"]["selector"].items() <= labels.items()
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "postgresql"}]


def test_it_reaches_the_instances_and_they_let_it_in(
    objects: list[Object], exporter: Object, kit: Any
) -> None:
    labels = kit.pod_template(exporter)["metadata"]["labels"]
    (cluster,) = kit.of_kind(objects, "Cluster")
    instances = cluster["spec"]["inheritedMetadata"]["labels"]
    policies = {
        item["metadata"]["name"]: item["spec"] for item in kit.of_kind(objects, "NetworkPolicy")
    }

    def peers(rules: list[Object], way: str, port: int) -> list[dict[str, str]]:
        return [
            peer["podSelector"]["matchLabels"]
            for rule in rules
            if {"port": port} in rule.get("ports", [])
            for peer in rule.get(way, [])
            if "podSelector" in peer
        ]

    out = policies["postgres-exporter"]
    assert out["podSelector"]["matchLabels"].items() <= labels.items()
    assert [entry.items() <= instances.items() for entry in peers(out["egress"], "to", 5432)] == [
        True
    ]
    into = policies["postgres"]
    assert into["podSelector"]["matchLabels"].items() <= instances.items()
    assert any(
        element.items() <= labels.items() for element in peers(into["ingress"], "from", 5432)
    )
    # and not by the way that the instances have to each other
    assert not instances.items() <= labels.items()


def test_it_signs_in_with_a_password_that_the_guide_hands_over(
    objects: list[Object], exporter: Object, kit: Any, root: Path
) -> None:
    (cluster,) = kit.of_kind(objects, "Cluster")
    secrets = {
        item["passwordSecret"]["name"]: item["name"] for item in cluster["spec"]["managed"]["roles"]
    }
    pod = kit.pod_template(exporter)["spec"]
    user = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    (volume,) = [element["secret"] for element in pod["volumes"] if element["name"] == "exporter"]
    assert secrets[volume["secretName"]] == user["DATA_SOURCE_USER"]
    guide = (root / "docs/how-to/move-to-ha.md").read_text()
    (line,) = [line for line in guide.splitlines() if line.strip().startswith("for role in")]
    roles = line.strip().removeprefix("for role in ").removesuffix("; do").split()
    assert {f"postgres-{role}" for role in roles} == secrets.keys() | {"postgres-owner"}
