"""Every folder renders, and every path in a manifest exists."""

import re
from pathlib import Path
from typing import Any

import pytest

SERVICES = (
    "audit-event-generator",
    "audit-log-analysis",
    "notification-service",
    "event-audit-dashboard",
)
ENVIRONMENTS = ("dev", "staging", "prod")
#: Parts of these are other projects' files, fetched when Argo CD renders them.
REMOTE = (
    "bootstrap/argocd",
    "bootstrap/argocd/ha",
    "bootstrap/argocd/upstream",
    "apps/platform/argo-rollouts",
)


def folders(root: Path) -> list[Path]:
    found = [
        file.parent
        for top in ("apps", "clusters", "bootstrap", "monitoring")
        for file in sorted((root / top).rglob("kustomization.yaml"))
        if "kind: Component" not in file.read_text()
    ]
    return [item for item in found if str(item.relative_to(root)) not in REMOTE]


def test_every_folder_renders(kit: Any, root: Path) -> None:
    for folder in folders(root):
        assert kit.render(folder), folder


def test_only_the_declared_folders_need_the_internet(root: Path) -> None:
    remote = {
        str(file.parent.relative_to(root))
        for top in ("apps", "clusters", "bootstrap", "monitoring")
        for file in (root / top).rglob("kustomization.yaml")
        if re.search(r"^- https://", file.read_text(), re.M)
    }
    assert remote <= set(REMOTE)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("service", SERVICES)
def test_the_pin_of_a_service_is_where_it_always_is(
    root: Path, service: str, environment: str
) -> None:
    text = (root / f"apps/{service}/envs/{environment}/release/kustomization.yaml").read_text()
    assert re.search(r"^kind: Component$", text, re.M)
    assert re.search(r"^  newTag: \S+", text, re.M)
    assert re.search(r"^  digest: sha256:[0-9a-f]{64}$", text, re.M)


def test_all_environments_have_the_same_applications_at_paths_that_exist(
    manifests: Any, root: Path
) -> None:
    apps = {}
    for environment in ENVIRONMENTS:
        applications = manifests.applications(environment)
        apps[environment] = {item.removeprefix(f"{environment}-") for item in applications}
        for application in applications.values():
            path = application["spec"]["source"]["path"]
            assert path.endswith(f"/envs/{environment}")
            assert (root / path / "kustomization.yaml").exists()
    assert apps["dev"] == apps["staging"] == apps["prod"]


def test_a_folder_holds_only_files_that_are_used(root: Path) -> None:
    for kustomization in (root / "apps").rglob("kustomization.yaml"):
        text = kustomization.read_text()
        for file in kustomization.parent.glob("*"):
            if file.is_file() and file != kustomization:
                assert re.search(rf"\b{re.escape(file.name)}\b", text), f"{file} is not used"


def test_one_resource_per_file(root: Path) -> None:
    for top in ("apps", "clusters", "bootstrap", "monitoring"):
        for file in (root / top).rglob("*.yaml"):
            assert "\n---" not in file.read_text(), file
