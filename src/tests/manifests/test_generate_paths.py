"""Argo CD renders an Application again only if a commit changes one of its inputs.

The annotation ``manifest-generate-paths`` lists the inputs. If an input were missing, a change of
it would not be deployed.
"""

import fnmatch
import posixpath
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops import layout, snapshot

Object = dict[str, Any]
ANNOTATION = "argocd.argoproj.io/manifest-generate-paths"
CLUSTERS = ("single", "cluster-dev", "cluster-staging", "cluster-prod")
OPTIONAL = ("delivery-metrics", "promoter", "monitoring/logs", "monitoring/traces")
#: Folders whose bases are in repositories of other projects.
REMOTE = {"bootstrap/argocd", "apps/platform/argo-rollouts"}


def refresh_paths(application: Object) -> list[str]:
    """The paths of the annotation, relative to the repository, as Argo CD computes them."""
    source = application["spec"]["source"]["path"]
    entries = application["metadata"]["annotations"][ANNOTATION].split(";")
    return [
        entry.removeprefix("/")
        if entry.startswith("/")
        else posixpath.normpath(posixpath.join(source, entry))
        for entry in entries
    ]


def is_selected(file: str, paths: Iterable[str]) -> bool:
    """Whether Argo CD renders the Application again after a change of a file.

    A path selects a file with this name, all files below it, and files that match it as a pattern.
    An asterisk of a pattern does not match a slash.
    """
    return any(
        file == path
        or file.startswith(f"{path}/")
        or (file.count("/") == path.count("/") and fnmatch.fnmatchcase(file, path))
        for path in paths
    )


def reader(root: Path) -> snapshot.Reader:
    def read(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    return read


def is_from_this_repository(application: Object) -> bool:
    """All others are charts or kinds of a fixed version: no commit changes them."""
    labels = application["metadata"].get("labels", {})
    other = labels.get("auditflow.io/source") == "chart"
    return "path" in application["spec"].get("source", {}) and not other


@pytest.fixture(scope="module")
def applications(
    manifests: Any, root: Path, kit: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Object]:
    """All Applications of this repository, also the optional ones, by cluster and name."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(root / "clusters", checkout / "clusters")
    single = checkout / "clusters/single/kustomization.yaml"
    single.write_text(single.read_text().replace("# - ../", "- ../"))
    folder = checkout / "clusters/policies"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("resources: [../operators/kyverno/policies]\n")
    found = {
        f"{cluster}/{item['metadata']['name']}": item
        for cluster in (*CLUSTERS, "policies", *layout.ENVIRONMENTS)
        for item in kit.of_kind(kit.render(checkout / "clusters" / cluster), "Application")
        if is_from_this_repository(item)
    }
    for name in OPTIONAL:
        assert f"single/{name.replace('/', '-')}" in found
    return found


def test_no_input_of_an_application_is_missing(
    applications: dict[str, Object], promoted: Path, root: Path
) -> None:
    assert len(applications) > 60
    for name, application in applications.items():
        folder = application["spec"]["source"]["path"]
        paths = refresh_paths(application)
        for checkout in (root, promoted) if "/envs/" in folder else (root,):
            if not (checkout / folder / "kustomization.yaml").exists():
                continue
            missing = [
                file
                for file in snapshot.inputs(reader(checkout), [folder])
                if not is_selected(file, paths)
            ]
            assert not missing, (name, paths)


def test_inputs_of_an_application_render_without_the_rest_of_the_repository(
    applications: dict[str, Object], promoted: Path, tmp_path: Path, kit: Any
) -> None:
    """Kustomize itself reads no other file."""
    for name, application in applications.items():
        folder = application["spec"]["source"]["path"]
        if name.partition("/")[0] != "dev" or folder in REMOTE:
            continue
        alone = tmp_path / name
        for path in refresh_paths(application):
            for file in (*promoted.glob(path), *promoted.glob(f"{path}/**/*")):
                if file.is_file():
                    target = alone / file.relative_to(promoted)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)
        assert kit.render(alone / folder) == kit.render(promoted / folder), name


def test_component_that_dev_opts_into_is_an_input(
    applications: dict[str, Object], root: Path
) -> None:
    components = [str(file.parent.relative_to(root)) for file in root.glob("apps/components/*/*")]
    for app in ("event-audit-dashboard", "postgres"):
        paths = refresh_paths(applications[f"dev/dev-{app}"])
        assert all(is_selected(f"{folder}/kustomization.yaml", paths) for folder in components)
    for server in ("postgres", "rabbitmq", "redis"):
        paths = refresh_paths(applications[f"dev/dev-{server}"])
        assert is_selected(f"apps/data/{server}/ha/kustomization.yaml", paths)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            "apps/event-audit-dashboard/envs/prod/release/kustomization.yaml",
            {"prod/prod-event-audit-dashboard"},
        ),
        (
            "apps/event-audit-dashboard/base/deployment.yaml",
            {f"{env}/{env}-event-audit-dashboard" for env in layout.ENVIRONMENTS},
        ),
        (
            "apps/data/redis/envs/staging/kustomization.yaml",
            {"staging/staging-redis"},
        ),
        ("monitoring/boards/json/services.json", {"single/monitoring-boards"}),
        ("src/event-audit-dashboard/event_audit_dashboard/app.py", set()),
        ("docs/delivery.md", set()),
        (".github/workflows/ci.yml", set()),
    ],
)
def test_change_renders_only_the_applications_that_use_it(
    applications: dict[str, Object], file: str, expected: set[str]
) -> None:
    clusters = ("single", "policies", *layout.ENVIRONMENTS)
    selected = {
        name
        for name, application in applications.items()
        if name.partition("/")[0] in clusters and is_selected(file, refresh_paths(application))
    }
    assert selected == expected


def test_analysis_and_archive_share_their_pins(applications: dict[str, Object]) -> None:
    file = "apps/audit-log-analysis/envs/prod/release/kustomization.yaml"
    selected = {
        name
        for name, application in applications.items()
        if is_selected(file, refresh_paths(application))
    }
    assert {"prod/prod-audit-log-analysis", "prod/prod-audit-event-archive"} <= selected
    assert all(name.endswith(("-audit-log-analysis", "-audit-event-archive")) for name in selected)


@pytest.mark.parametrize("entry", ["../../base", "/apps/components", "."])
def test_a_missing_path_is_found(applications: dict[str, Object], root: Path, entry: str) -> None:
    # Given an Application without one of its paths
    application = applications["dev/dev-notification-service"]
    entries = application["metadata"]["annotations"][ANNOTATION].split(";")
    entries.remove(entry)
    shortened = yaml.safe_load(yaml.safe_dump(application))
    shortened["metadata"]["annotations"][ANNOTATION] = ";".join(entries)

    # Then an input is not selected
    folder = application["spec"]["source"]["path"]
    files = snapshot.inputs(reader(root), [folder])
    assert not all(is_selected(file, refresh_paths(shortened)) for file in files)
