"""A change of a base reaches dev only; a promotion moves it to the next environment."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops import layout, snapshot, working_tree

Object = dict[str, Any]
CHANGED = "changed-by-a-test"


def mark(checkout: Path) -> int:
    """Change every base and every component. Returns the number of changed folders."""
    files = [
        file
        for top in ("apps", "src")
        for file in (checkout / top).rglob("kustomization.yaml")
        if "envs" not in file.parts
    ]
    for file in files:
        kustomization = yaml.safe_load(file.read_text())
        kustomization["commonAnnotations"] = {CHANGED: str(file.relative_to(checkout))}
        file.write_text(yaml.safe_dump(kustomization, sort_keys=False))
    return len(files)


@pytest.fixture
def checkout(promoted: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "checkout"
    shutil.copytree(promoted, copy)
    return copy


def test_changed_base_reaches_only_dev_before_a_promotion(
    checkout: Path, manifests: Any, kit: Any
) -> None:
    # Given a change of every base and every component
    assert mark(checkout) > 30
    changed = kit.manifests(checkout)

    # Then every app of dev changes, and staging and prod render the same objects as before
    assert CHANGED in str(changed.environment("dev"))
    for environment in ("staging", "prod"):
        assert changed.environment(environment) == manifests.environment(environment)

    # When it is promoted to staging, then prod still does not change
    working_tree.write_snapshots(checkout, "staging")
    after = kit.manifests(checkout)
    objects = after.environment("staging")
    assert all(CHANGED in item["metadata"].get("annotations", {}) for item in objects)
    assert after.environment("prod") == manifests.environment("prod")


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_overlay_uses_only_its_own_folder_and_pins(root: Path, environment: str) -> None:
    def read(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    apps = snapshot.apps(
        [str(file.relative_to(root)) for file in (root / "apps").rglob("kustomization.yaml")],
        environment,
    )
    assert len(apps) == 10
    for app in apps:
        folder = layout.overlay(app, environment)
        for path in snapshot.inputs(read, [folder]):
            own = path.startswith(f"{folder}/")
            assert own or path.endswith(f"/envs/{environment}/release/kustomization.yaml"), path


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_snapshot_contains_no_unused_file(root: Path, environment: str) -> None:
    def read(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    folders = list((root / "apps").glob(f"**/envs/{environment}/snapshot"))
    assert len(folders) == 10
    for folder in folders:
        app = str(folder.relative_to(root / "apps")).partition("/envs/")[0]
        own = snapshot.source_of(read, app=app, environment=environment)
        used = snapshot.inputs(own, snapshot.roots(read, app, environment))
        present = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
        assert present - {snapshot.REVISION} == set(used)
