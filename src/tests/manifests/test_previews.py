"""Previews of pull requests: what the ApplicationSet creates, and what a preview may create."""

import json
import os
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops import layout
from provisioning.catalogue import SECRETS

Object = dict[str, Any]
COMMIT = "ab" * 20
NAMESPACE = "auditflow-pr-7"


@pytest.fixture(scope="module")
def opted_in(root: Path, tmp_path_factory: pytest.TempPathFactory, kit: Any) -> list[Object]:
    """The cluster with previews."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(root / "clusters", checkout / "clusters")
    single = checkout / "clusters/single/kustomization.yaml"
    single.write_text(single.read_text().replace("# - ../previews", "- ../previews"))
    rendered: list[Object] = kit.render(single.parent)
    return rendered


@pytest.fixture(scope="module")
def application(opted_in: list[Object], kit: Any) -> Object:
    """The Application of pull request 7."""
    (application_set,) = kit.of_kind(opted_in, "ApplicationSet")
    assert application_set["spec"]["goTemplate"]
    text = json.dumps(application_set["spec"]["template"])
    text = text.replace("{{.number}}", "7").replace("{{.head_sha}}", COMMIT)
    assert "{{" not in text
    found: Object = json.loads(text)
    return found


@pytest.fixture(scope="module")
def preview(
    application: Object, root: Path, tmp_path_factory: pytest.TempPathFactory, kit: Any
) -> list[Object]:
    """The objects of the preview, as Argo CD renders them."""
    rendered: list[Object] = []
    for source in application["spec"]["sources"]:
        folder = tmp_path_factory.mktemp("preview")
        options = source["kustomize"]
        images = []
        for image in options.get("images", []):
            name, _, new = image.partition("=")
            new_name, _, tag = new.rpartition(":")
            images.append({"name": name, "newName": new_name, "newTag": tag})
        overlay = {
            "resources": [os.path.relpath(root / source["path"], folder)],
            "namespace": options["namespace"],
            "patches": options.get("patches", []),
            "images": images,
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        rendered += kit.render(folder)
    return rendered


def test_pull_request_with_the_label_gets_its_own_commit_and_namespace(
    opted_in: list[Object], application: Object, root: Path, kit: Any
) -> None:
    (application_set,) = kit.of_kind(opted_in, "ApplicationSet")
    (generator,) = application_set["spec"]["generators"]
    assert generator["pullRequest"]["github"]["labels"] == ["preview"]
    repository = yaml.safe_load((root / "clusters/repository/repository.yaml").read_text())
    for source in application["spec"]["sources"]:
        assert source["repoURL"] == repository["data"]["repoURL"]
        assert source["targetRevision"] == COMMIT
    assert application["metadata"]["annotations"]["auditflow.io/commit"] == COMMIT
    assert application["spec"]["destination"]["namespace"] == NAMESPACE
    # closing the pull request deletes the preview, and Argo CD does not create unknown namespaces
    assert application["metadata"]["finalizers"]
    assert application["spec"]["project"] == "auditflow-previews"


def test_platform_may_create_the_application_set(opted_in: list[Object], kit: Any) -> None:
    (platform,) = [
        item
        for item in kit.of_kind(opted_in, "AppProject")
        if item["metadata"]["name"] == "platform"
    ]
    permitted = platform["spec"]["namespaceResourceWhitelist"]
    assert {"group": "argoproj.io", "kind": "ApplicationSet"} in permitted


def test_preview_creates_only_what_its_project_permits(
    opted_in: list[Object], preview: list[Object], kit: Any
) -> None:
    (project,) = [
        item
        for item in kit.of_kind(opted_in, "AppProject")
        if item["metadata"]["name"] == "auditflow-previews"
    ]
    spec = project["spec"]
    namespaced = {(item["group"], item["kind"]) for item in spec["namespaceResourceWhitelist"]}
    used = set()
    for item in preview:
        group = item["apiVersion"].rpartition("/")[0]
        if "namespace" in item["metadata"]:
            assert item["metadata"]["namespace"] == NAMESPACE, kit.name(item)
            assert (group, item["kind"]) in namespaced, kit.name(item)
            used.add((group, item["kind"]))
        else:
            (allowed,) = spec["clusterResourceWhitelist"]
            assert (group, item["kind"]) == (allowed["group"], allowed["kind"])
            assert fnmatchcase(item["metadata"]["name"], allowed["name"])
    # and the list has no kind that a preview does not use
    assert namespaced == used
    (destination,) = spec["destinations"]
    assert fnmatchcase(NAMESPACE, destination["namespace"])
    for environment in layout.ENVIRONMENTS:
        assert not fnmatchcase(f"auditflow-{environment}", destination["namespace"])


def test_preview_has_one_replica_of_each_service_and_its_images(
    preview: list[Object], kit: Any
) -> None:
    assert not kit.of_kind(preview, "HorizontalPodAutoscaler", "PodDisruptionBudget")
    deployments = kit.of_kind(preview, "Deployment")
    assert {item["metadata"]["name"] for item in deployments} >= set(layout.SERVICES)
    for deployment in deployments:
        assert deployment["spec"].get("replicas", 1) == 1
        (container, *_) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"].endswith(f":preview-{COMMIT}"), container["image"]


def test_preview_leaves_the_processors_of_a_small_node_to_the_environments(
    preview: list[Object], kit: Any
) -> None:
    """With the requests of an environment, a preview filled two cores, and prod's Job was pending."""
    requests = []
    for workload in kit.of_kind(preview, "Deployment", "StatefulSet", "Job"):
        pod = kit.pod_template(workload)["spec"]
        containers = [*pod["containers"], *pod.get("initContainers", [])]
        requests += [each["resources"]["requests"]["cpu"] for each in containers]
    assert len(requests) > 10
    millicores = [int(request.removesuffix("m")) for request in requests]
    assert max(millicores) <= 10
    assert sum(millicores) <= 100


def test_preview_is_reached_by_its_host_and_its_status_links_to_it(
    application: Object, preview: list[Object], root: Path, kit: Any
) -> None:
    (ingress,) = kit.of_kind(preview, "Ingress")
    (rule,), (tls,) = ingress["spec"]["rules"], ingress["spec"]["tls"]
    annotations = application["metadata"]["annotations"]
    assert annotations["auditflow.io/address"] == f"https://{rule['host']}"
    assert tls["hosts"] == [rule["host"]]
    assert all(item["spec"].get("type") != "NodePort" for item in kit.of_kind(preview, "Service"))
    file = root / "bootstrap/argocd/previews/notifications.yaml"
    settings = yaml.safe_load(file.read_text())["data"]
    prefix = "notifications.argoproj.io/subscribe."
    subscribed = [
        name.removeprefix(prefix).split(".") for name in annotations if name.startswith(prefix)
    ]
    assert {trigger for trigger, _ in subscribed} == {
        name.removeprefix("trigger.") for name in settings if name.startswith("trigger.")
    }
    for trigger, service in subscribed:
        assert f"service.webhook.{service}" in settings
        (condition,) = yaml.safe_load(settings[f"trigger.{trigger}"])
        (template,) = condition["send"]
        body = yaml.safe_load(settings[f"template.{template}"])["webhook"][service]["body"]
        assert '{{index .app.metadata.annotations "auditflow.io/address"}}' in body


def test_job_may_read_the_secrets_that_it_creates(preview: list[Object], kit: Any) -> None:
    (role,) = [
        item for item in kit.of_kind(preview, "Role") if item["metadata"]["name"] == "secrets"
    ]
    names = [name for rule in role["rules"] for name in rule.get("resourceNames", [])]
    assert SECRETS.keys() <= set(names)


def test_removal_of_a_preview_needs_no_confirmation(preview: list[Object], kit: Any) -> None:
    for item in preview:
        options = item["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-options", "")
        assert "confirm" not in options, kit.name(item)
        assert "Prune=false" not in options, kit.name(item)
    for claim in kit.of_kind(preview, "PersistentVolumeClaim"):
        assert claim["spec"]["storageClassName"] == "local-path"  # it deletes the volume
