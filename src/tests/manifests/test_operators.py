"""The operators that a cluster opts into: pinned, in order, and permitted by their project."""

import re
from pathlib import Path
from typing import Any

import jmespath
import pytest
import yaml

Object = dict[str, Any]


@pytest.fixture(scope="module")
def operators(root: Path) -> dict[str, Object]:
    """The Applications of all operators by name."""
    folder = root / "clusters/operators"
    files = [*sorted(folder.glob("*.yaml")), folder / "kyverno/kyverno.yaml"]
    objects = [yaml.safe_load(file.read_text("utf-8")) for file in files]
    return {item["metadata"]["name"]: item for item in objects if item.get("kind") == "Application"}


def test_each_operator_is_offered_and_none_is_installed_by_default(
    operators: dict[str, Object], root: Path, kit: Any
) -> None:
    folder = root / "clusters/operators"
    listed = re.findall(r"^# - (\S+)", (folder / "kustomization.yaml").read_text(), re.M)
    offered = [name.removesuffix(".yaml") for name in listed]
    assert sorted(offered) == sorted(operators)
    assert [kit.name(item) for item in kit.render(folder)] == ["AppProject/operators"]
    readme = (folder / "README.md").read_text("utf-8")
    assert all(f"| `{name}` |" in readme for name in listed)


def test_image_policies_are_enforced_in_staging_and_prod_where_kyverno_is_installed(
    operators: dict[str, Object], root: Path, kit: Any
) -> None:
    """One line installs Kyverno, and after it the policies. No other change is needed."""
    applications = {
        item["metadata"]["name"]: item for item in kit.render(root / "clusters/operators/kyverno")
    }
    assert applications.keys() == {"kyverno", "image-policies"}
    policies = applications["image-policies"]
    repository = yaml.safe_load((root / "clusters/repository/repository.yaml").read_text("utf-8"))
    assert policies["spec"]["source"] == repository["data"] | {
        "path": "apps/platform/image-policies"
    }
    waves = {
        name: int(item["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for name, item in applications.items()
    }
    assert waves["kyverno"] < waves["image-policies"]
    assert policies["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    platform = yaml.safe_load((root / "clusters/platform/project.yaml").read_text("utf-8"))
    permitted = platform["spec"]["clusterResourceWhitelist"]
    for policy in kit.render(root / policies["spec"]["source"]["path"]):
        group = policy["apiVersion"].partition("/")[0]
        assert {"group": group, "kind": policy["kind"]} in permitted
        spec = policy["spec"]
        assert (spec["validationActions"], spec["failurePolicy"]) == (["Deny"], "Fail")
        (selector,) = spec["matchConstraints"]["namespaceSelector"]["matchExpressions"]
        assert selector == {
            "key": "kubernetes.io/metadata.name",
            "operator": "In",
            "values": ["auditflow-staging", "auditflow-prod"],
        }


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_no_environment_can_change_the_image_policies(
    environment: str, manifests: Any, kit: Any
) -> None:
    (project,) = kit.of_kind(manifests.cluster(environment), "AppProject")
    lists = (
        project["spec"]["clusterResourceWhitelist"],
        project["spec"]["namespaceResourceWhitelist"],
    )
    assert not [item for items in lists for item in items if "kyverno" in item["group"]]


def test_the_project_of_the_operators_permits_exactly_their_sources_and_namespaces(
    operators: dict[str, Object], root: Path
) -> None:
    project = yaml.safe_load((root / "clusters/operators/project.yaml").read_text("utf-8"))
    sources = {item["spec"]["source"]["repoURL"] for item in operators.values()}
    assert sources == set(project["spec"]["sourceRepos"])
    namespaces = {item["spec"]["destination"]["namespace"] for item in operators.values()}
    permitted = {destination["namespace"] for destination in project["spec"]["destinations"]}
    assert permitted == namespaces | {"kube-system"}
    assert {item["spec"]["project"] for item in operators.values()} == {"operators"}


def test_versions_are_pinned(operators: dict[str, Object]) -> None:
    for name, item in operators.items():
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", item["spec"]["source"]["targetRevision"]), name


def test_certificates_come_before_their_users(operators: dict[str, Object]) -> None:
    def wave(name: str) -> int:
        annotations = operators[name]["metadata"]["annotations"]
        return int(annotations["argocd.argoproj.io/sync-wave"])

    assert wave("cert-manager") < wave("rabbitmq-operator") < 0
    assert wave("cert-manager") < wave("dex") < 0


def test_an_operator_waits_for_its_definitions_without_a_limit(
    operators: dict[str, Object],
) -> None:
    for name, item in operators.items():
        policy = item["spec"]["syncPolicy"]
        assert policy["retry"]["limit"] == -1, name
        assert "ServerSideApply=true" in policy["syncOptions"], f"{name}: definitions are large"


def test_argo_cd_and_grafana_are_clients_of_dex_with_their_addresses(
    operators: dict[str, Object], root: Path
) -> None:
    config = operators["dex"]["spec"]["source"]["helm"]["valuesObject"]["config"]
    clients = {client["id"]: client for client in config["staticClients"]}
    settings = yaml.safe_load((root / "bootstrap/argocd/oidc/argocd-cm.yaml").read_text("utf-8"))
    argo_cd = yaml.safe_load(settings["data"]["oidc.config"])
    assert argo_cd["issuer"] == config["issuer"]
    assert clients[argo_cd["clientID"]]["redirectURIs"] == [
        settings["data"]["url"] + "/auth/callback"
    ]
    values = yaml.safe_load((root / "monitoring/values/grafana-oidc.yaml").read_text("utf-8"))
    grafana = values["grafana"]["grafana.ini"]
    oauth = grafana["auth.generic_oauth"]
    assert {oauth["auth_url"], oauth["token_url"], oauth["api_url"]} == {
        f"{config['issuer']}/{name}" for name in ("auth", "token", "userinfo")
    }
    assert clients[oauth["client_id"]]["redirectURIs"] == [
        grafana["server"]["root_url"] + "/login/generic_oauth"
    ]
    assert all("secretEnv" in client and "secret" not in client for client in clients.values())


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["auditflow-readers"], "Viewer"),
        (["other", "auditflow-operators", "auditflow-readers"], "Editor"),
        (["auditflow-operators", "auditflow-platform"], "Admin"),
        (["other"], False),
        ([], False),
    ],
)
def test_the_highest_group_decides_the_role_in_grafana(
    root: Path, groups: list[str], role: str | bool
) -> None:
    """Grafana evaluates the expression as JMESPath, and refuses a user without a role."""
    values = yaml.safe_load((root / "monitoring/values/grafana-oidc.yaml").read_text("utf-8"))
    oauth = values["grafana"]["grafana.ini"]["auth.generic_oauth"]
    assert jmespath.search(oauth["role_attribute_path"], {"groups": groups}) == role
    assert oauth["role_attribute_strict"] is True


def test_the_sign_in_of_argo_cd_renders(root: Path, tmp_path: Path, kit: Any) -> None:
    """The component changes only the two settings of the sign-in."""
    folder = root / "bootstrap/argocd"
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{folder / 'settings'}]\ncomponents: [{folder / 'oidc'}]\n".replace(
            str(root), "."
        )
    )
    (tmp_path / "bootstrap").symlink_to(root / "bootstrap")
    (settings,) = (item for item in kit.render(tmp_path) if item["metadata"]["name"] == "argocd-cm")
    assert {"url", "oidc.config", "timeout.reconciliation"} <= settings["data"].keys()
