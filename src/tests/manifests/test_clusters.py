"""The objects that Argo CD may deploy, and the environments that it syncs automatically."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

Object = dict[str, Any]
#: What says all by itself, since its source is a chart or another repository.
CHART = {"auditflow.io/source": "chart"}
#: The folders of monitoring/ that Applications point to.
MONITORING = ("base", "boards", "logs", "rules/objects", "traces")


def is_chart(application: Object) -> bool:
    return bool(application["metadata"].get("labels", {}).items() >= CHART.items())


@pytest.fixture(scope="module")
def opted_in(root: Path, tmp_path_factory: pytest.TempPathFactory, kit: Any) -> list[Object]:
    """A cluster with all parts of the monitoring."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(root / "clusters", checkout / "clusters")
    single = checkout / "clusters/single/kustomization.yaml"
    single.write_text(single.read_text().replace("# - ../monitoring", "- ../monitoring"))
    rendered: list[Object] = kit.render(checkout / "clusters/single")
    return rendered


def test_dev_and_staging_sync_by_themselves_and_prod_by_a_person(manifests: Any) -> None:
    for environment, automated in (("dev", True), ("staging", True), ("prod", False)):
        for application in manifests.applications(environment).values():
            policy = application["spec"]["syncPolicy"]
            if automated:
                assert policy["automated"] == {"prune": True, "selfHeal": True}
            else:
                assert "automated" not in policy
            assert policy["retry"]["limit"] == -1, "a dependency can arrive after any time"
            assert policy["retry"]["backoff"]["maxDuration"] == "1m"


def test_deleting_waits_for_what_is_deleted_but_a_root_leaves_all_running(manifests: Any) -> None:
    for environment in ("dev", "staging", "prod"):
        for application in manifests.applications(environment).values():
            assert application["metadata"]["finalizers"] == [
                "resources-finalizer.argocd.argoproj.io/foreground"
            ]
    for application in manifests.applications("single").values():
        assert "finalizers" not in application["metadata"]


def test_an_operator_may_pause_an_environment(manifests: Any) -> None:
    for root in manifests.applications("single").values():
        if is_chart(root):
            continue
        assert root["spec"]["syncPolicy"]["syncOptions"] == ["RespectIgnoreDifferences=true"]
        assert root["spec"]["ignoreDifferences"] == [
            {
                "group": "argoproj.io",
                "kind": "Application",
                "jsonPointers": ["/spec/syncPolicy/automated"],
            }
        ]


def permitted(project: Object, thing: Object) -> bool:
    group = thing["apiVersion"].rpartition("/")[0]
    spec = project["spec"]
    if "namespace" in thing["metadata"]:
        return {"group": group, "kind": thing["kind"]} in spec[
            "namespaceResourceWhitelist"
        ] and any(
            destination["namespace"] == thing["metadata"]["namespace"]
            for destination in spec["destinations"]
        )
    return any(
        (item["group"], item["kind"]) == (group, thing["kind"])
        and item.get("name", thing["metadata"]["name"]) == thing["metadata"]["name"]
        for item in spec["clusterResourceWhitelist"]
    )


def test_a_project_permits_what_its_environment_needs_and_no_other(
    manifests: Any, environment: str, kit: Any
) -> None:
    (project,) = kit.of_kind(manifests.cluster(environment), "AppProject")
    for thing in manifests.environment(environment):
        assert permitted(project, thing), kit.name(thing)
    for other in {"dev", "staging", "prod"} - {environment}:
        for thing in manifests.environment(other):
            assert not permitted(project, thing), kit.name(thing)


@pytest.mark.parametrize("data", ["postgres", "rabbitmq", "redis"])
def test_a_project_permits_three_in_the_place_of_one(
    manifests: Any, root: Path, data: str, kit: Any
) -> None:
    (project,) = kit.of_kind(manifests.cluster("prod"), "AppProject")
    for thing in kit.render(root / f"apps/data/{data}/ha"):
        there = thing | {"metadata": thing["metadata"] | {"namespace": "auditflow-prod"}}
        assert permitted(project, there), kit.name(thing)


def test_the_platform_permits_the_roots_and_no_star_is_anywhere(manifests: Any, kit: Any) -> None:
    single = manifests.cluster("single")
    (platform,) = kit.of_kind(single, "AppProject")
    children = [item for env in ("dev", "staging", "prod") for item in manifests.cluster(env)]
    for thing in (*single, *children):
        assert permitted(platform, thing), kit.name(thing)
    for project in kit.of_kind((*single, *children), "AppProject"):
        spec = project["spec"]
        assert "*" not in str({key: spec[key] for key in spec if key.endswith("Whitelist")})
        assert "*" not in str(spec["destinations"])
        assert "*" not in str(spec["sourceRepos"])


def test_every_application_is_in_the_project_that_is_meant_for_it(
    manifests: Any, environment: str
) -> None:
    for application in manifests.applications(environment).values():
        assert application["spec"]["project"] == f"auditflow-{environment}"
        assert application["spec"]["destination"]["namespace"] == f"auditflow-{environment}"
    for root in manifests.applications("single").values():
        assert root["spec"]["project"] == "platform"


def test_prod_has_sync_windows_and_only_prod(manifests: Any, environment: str, kit: Any) -> None:
    (project,) = kit.of_kind(manifests.cluster(environment), "AppProject")
    windows = project["spec"].get("syncWindows", [])
    assert bool(windows) is (environment == "prod")
    # Without manualSync, Argo CD queues a rollback at night until the morning.
    assert all(window["kind"] == "allow" and window["manualSync"] for window in windows)


def test_terraform_gives_each_environment_a_cluster_of_its_own(
    manifests: Any, root: Path, environment: str
) -> None:
    main = (root / f"infra/terraform/environments/{environment}/main.tf").read_text()
    (folder,) = re.findall(r'argocd_bootstrap_cluster = "([\w-]+)"', main)
    applications = manifests.applications(folder)
    assert applications["cluster"]["spec"]["source"]["path"] == f"clusters/{folder}"
    everything = manifests.applications("single")
    others = {"dev", "staging", "prod"} - {environment}
    assert applications.keys() == everything.keys() - others
    for name in applications.keys() - {"cluster"}:
        assert applications[name] == everything[name]


def test_roles_may_use_the_buttons_of_the_web_interface(
    manifests: Any, environment: str, kit: Any
) -> None:
    """Pause and the confirmation of a deletion change the Application."""
    (project,) = kit.of_kind(manifests.cluster(environment), "AppProject")
    roles = {role["name"]: role["policies"] for role in project["spec"]["roles"]}
    acting = roles["operator" if environment == "prod" else "developer"]
    actions = {policy.split(", ")[3] for policy in acting if ", applications, " in policy}
    assert actions == {"get", "sync", "update", "action/*"}
    assert {policy.split(", ")[3] for policy in roles["reader"]} == {"get"}


def test_only_two_manifests_name_the_repository(root: Path) -> None:
    files = [
        file
        for top in ("apps", "clusters", "bootstrap")
        for file in (root / top).rglob("*.yaml")
        if "github.com/" in file.read_text()
        and file.name in {"signed-images.yaml", "repository.yaml"}
    ]
    # The repository that Argo CD reads, and the repository whose workflow signs the images.
    assert sorted(files) == [
        root / "apps/platform/image-policies/signed-images.yaml",
        root / "clusters/repository/repository.yaml",
    ]


def test_the_settings_of_argo_cd_fit_upstreams_manifest(
    root: Path, tmp_path: Path, kit: Any
) -> None:
    objects = kit.render(_with_local_manifests(root, tmp_path))
    names = {kit.name(item): item for item in objects}
    assert "resource.exclusions" in names["ConfigMap/argocd-cm"]["data"], "upstream's own stays"
    assert "timeout.reconciliation" in names["ConfigMap/argocd-cm"]["data"]
    assert names["Deployment/argocd-applicationset-controller"]["spec"]["replicas"] == 0
    for workload in kit.of_kind(objects, "Deployment", "StatefulSet"):
        if workload["spec"].get("replicas") != 0:
            assert workload["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_argo_cd_with_high_availability(root: Path, tmp_path: Path, kit: Any) -> None:
    """It contains all objects of upstream's HA manifest, and two pods of a part never share a node."""
    folder = _with_local_manifests(root, tmp_path)
    upstream = kit.render(tmp_path / "manifests/ha/cluster-install")
    with (folder / "kustomization.yaml").open("a") as file:
        file.write("components: [ha]\n")

    objects = {kit.name(item): item for item in kit.render(folder)}

    assert {kit.name(item) for item in upstream} <= objects.keys()
    assert "Deployment/argocd-redis" not in objects
    assert "Service/argocd-redis" not in objects
    settings = objects["ConfigMap/argocd-cmd-params-cm"]["data"]
    assert settings["redis.server"] == "argocd-redis-ha-haproxy:6379"
    assert settings["controller.operation.processors"] == "2", "our settings stay"
    for name, replicas in (
        ("Deployment/argocd-server", 2), ("Deployment/argocd-repo-server", 2),
        ("Deployment/argocd-redis-ha-haproxy", 3), ("StatefulSet/argocd-redis-ha-server", 3),
    ):  # fmt: skip
        spec = objects[name]["spec"]
        assert spec["replicas"] == replicas, name
        affinity = spec["template"]["spec"]["affinity"]["podAntiAffinity"]
        (rule,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule["topologyKey"] == "kubernetes.io/hostname", name
        for container in spec["template"]["spec"]["containers"]:
            assert container["resources"]["limits"], f"{name}: {container['name']}"
    project = yaml.safe_load((root / "clusters/platform/project.yaml").read_text())["spec"]
    permitted = {
        (entry["group"], entry["kind"])
        for key in ("clusterResourceWhitelist", "namespaceResourceWhitelist")
        for entry in project[key]
    }
    for item in objects.values():
        group = item["apiVersion"].rpartition("/")[0]
        assert (group, item["kind"]) in permitted
        if "argoproj.io" not in group:
            kubernetes_validate.validate(item, "1.37", strict=True)


def _with_local_manifests(root: Path, temporary: Path) -> Path:
    """A copy of bootstrap/argocd that reads upstream's manifests from the Go module."""
    module = _argo_cd()
    if module is None:
        pytest.skip("Go has no copy of Argo CD's module, and the manifest is on the internet")
    shutil.copytree(module / "manifests", temporary / "manifests")
    shutil.copytree(root / "bootstrap/argocd", temporary / "argocd")
    subprocess.run(("chmod", "-R", "u+w", str(temporary)), check=True)
    version = module.name.partition("@")[2]
    for name in ("upstream", "ha"):
        file = temporary / "argocd" / name / "kustomization.yaml"
        text = file.read_text()
        remote = "https://github.com/argoproj/argo-cd//manifests/"
        (found,) = re.findall(rf"^- {remote}(.+)\?ref={re.escape(version)}$", text, re.M)
        address = f"{remote}{found}?ref={version}"
        file.write_text(text.replace(address, f"../../manifests/{found}"))
    return temporary / "argocd"


def _argo_cd() -> Path | None:
    if shutil.which("go") is None:
        return None
    cache = subprocess.run(
        ("go", "env", "GOMODCACHE"), capture_output=True, text=True, check=True
    ).stdout.strip()
    found = sorted(Path(cache, "github.com/argoproj/argo-cd").glob("v3@v*/manifests"))
    return found[-1].parent if found else None


def test_charts_are_pinned_and_their_values_are_in_the_repository(
    opted_in: list[Object], root: Path, kit: Any
) -> None:
    (platform,) = kit.of_kind(opted_in, "AppProject")
    ours = platform["spec"]["sourceRepos"][0]
    charts = [item for item in kit.of_kind(opted_in, "Application") if is_chart(item)]
    assert {chart["metadata"]["name"] for chart in charts} == {
        "monitoring-cost", "monitoring-crds", "monitoring-stack",
    }  # fmt: skip
    for application in charts:
        spec = application["spec"]
        assert "ServerSideApply=true" in spec["syncPolicy"]["syncOptions"]
        sources = spec.get("sources") or [spec["source"]]
        assert {entry["repoURL"] for entry in sources} <= set(platform["spec"]["sourceRepos"])
        for source in sources:
            if source["repoURL"] == ours:
                assert source == {"repoURL": ours, "targetRevision": "main", "ref": "values"}
                continue
            assert re.search(r"(^|-)\d+\.\d+\.\d+$", source["targetRevision"])
            for file in source.get("helm", {}).get("valueFiles", []):
                assert (root / file.removeprefix("$values/")).is_file()


def test_the_kinds_and_the_operator_are_of_one_version(opted_in: list[Object]) -> None:
    applications = {item["metadata"]["name"]: item["spec"] for item in opted_in}
    kinds = applications["monitoring-crds"]["source"]["targetRevision"]
    (chart, _) = applications["monitoring-stack"]["sources"]
    assert kinds == f"{chart['chart']}-{chart['targetRevision']}"
    assert applications["monitoring-crds"]["syncPolicy"]["automated"]["prune"] is False


def test_the_platform_permits_what_the_monitoring_needs(
    opted_in: list[Object], root: Path, kit: Any
) -> None:
    (platform,) = kit.of_kind(opted_in, "AppProject")
    paths = {
        item["spec"]["source"]["path"]
        for item in kit.of_kind(opted_in, "Application")
        if "source" in item["spec"]
    }
    for folder in MONITORING:
        assert f"monitoring/{folder}" in paths
        for thing in kit.render(root / "monitoring" / folder):
            assert permitted(platform, thing), kit.name(thing)
            if thing["kind"] != "Namespace":
                assert thing["metadata"]["namespace"] == "monitoring"
