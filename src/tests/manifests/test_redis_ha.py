"""The policies of the other workloads stay the same with three instances of Redis."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from . import test_monitored, test_network, test_policies, test_secrets_and_tls

Object = dict[str, Any]

#: The connections that the move allows, and those that it forbids.
ADDED = {
    ("audit-log-analysis", "redis-ha", 6379),
    ("audit-log-analysis", "redis-ha", 26379),
    ("event-audit-dashboard", "redis-ha", 6379),
    ("event-audit-dashboard", "redis-ha", 26379),
    ("prometheus", "redis-ha", 9121),
}
REMOVED = {
    ("audit-log-analysis", "redis", 6379),
    ("event-audit-dashboard", "redis", 6379),
    ("prometheus", "redis", 9121),
}


@pytest.fixture(scope="module")
def moved(promoted: Path, manifests: Any, kit: Any, tmp_path_factory: Any) -> list[Object]:
    """Production with Redis and the analysis as docs/how-to/move-to-ha.md leaves them."""
    folder = tmp_path_factory.mktemp("moved")

    def at(path: str) -> str:
        return os.path.relpath(promoted / path, folder)

    overlay = {
        "namespace": "auditflow-prod",
        "labels": [{"includeTemplates": True, "pairs": {"environment": "prod"}}],
    }
    analysis = {
        "resources": [at("apps/audit-log-analysis/envs/prod")],
        "components": [at("apps/components/redis-sentinel")],
    }
    dashboard = {
        "resources": [at("apps/event-audit-dashboard/envs/prod")],
        "components": [at("apps/components/redis-sentinel-dashboard")],
    }
    rendered: list[Object] = []
    for parts in ({"resources": [at("apps/data/redis/ha")]}, analysis, dashboard):
        (folder / "kustomization.yaml").write_text(json.dumps(overlay | parts))
        rendered += kit.render(folder)
    names = ("redis", "redis-service")
    replaced = ("redis-", "audit-log-analysis", "event-audit-dashboard")
    others = [
        item
        for item in manifests.environment("prod")
        if item["metadata"]["name"] not in names
        and not item["metadata"]["name"].startswith(replaced)
    ]
    return others + rendered


def test_permitted_connections(moved: list[Object], kit: Any) -> None:
    test_network.FLOW, before = (test_network.FLOW - REMOVED) | ADDED, test_network.FLOW
    try:
        test_network.test_the_policies_allow_the_data_flow_and_nothing_else(moved, "prod", kit)
    finally:
        test_network.FLOW = before
    test_network.test_no_pod_may_connect_to_any_address(moved, kit)


@pytest.mark.parametrize(
    "rule",
    [
        test_policies.test_every_container_is_confined,
        test_policies.test_every_container_has_requests_and_limits,
        test_policies.test_every_server_is_probed,
        test_policies.test_every_server_has_time_for_an_orderly_stop,
        test_secrets_and_tls.test_only_the_jobs_that_create_secrets_have_a_token,
        test_policies.test_every_account_that_is_used_exists,
        test_policies.test_no_disruption_budget_blocks_a_drain,
        test_policies.test_every_service_selects_exactly_one_workload_and_a_port_that_it_has,
        test_policies.test_images_are_pinned,
        test_secrets_and_tls.test_no_secret_is_in_git,
        test_policies.test_the_deletion_of_data_needs_a_confirmation,
        test_policies.test_each_setting_of_a_manifest_is_a_setting_of_its_service,
        test_monitored.test_each_is_scraped_where_it_answers,
        test_monitored.test_prometheus_jobs_have_the_names_that_rules_use,
        test_monitored.test_each_workload_has_a_disruption_budget_or_a_reason,
        test_monitored.test_each_has_a_network_policy_of_its_own,
    ],
    ids=lambda rule: rule.__name__.removeprefix("test_"),
)
def test_it_keeps_the_rules(rule: Any, moved: list[Object], kit: Any) -> None:
    rule(moved, kit)


def test_it_is_labelled_as_all_are(moved: list[Object], kit: Any) -> None:
    test_policies.test_all_objects_and_their_pods_are_labelled(moved, "prod", kit)


def test_redis_and_exporter_are_those_of_the_base(
    moved: list[Object], kit: Any, root: Path
) -> None:
    images = {
        container["image"]
        for folder in ("base", "ha")
        for item in kit.of_kind(kit.render(root / "apps/data/redis" / folder), "StatefulSet")
        for container in kit.pod_template(item)["spec"]["containers"]
    }
    assert len(images) == 2


def test_the_secrets_that_are_mounted_are_made(moved: list[Object], kit: Any) -> None:
    from provisioning.catalogue import SECRETS

    (three,) = [item for item in kit.of_kind(moved, "StatefulSet")
                if item["metadata"]["name"] == "redis-ha"]  # fmt: skip
    volumes = kit.pod_template(three)["spec"]["volumes"]
    mounted = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} | {
        source["secret"]["name"]
        for entry in volumes
        for source in entry.get("projected", {}).get("sources", [])
    }
    assert mounted == {"redis-ha", "redis-replication", "redis-exporter"}
    assert mounted <= SECRETS.keys()
