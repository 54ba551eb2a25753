"""The steps of docs/how-to/add-an-environment.md give a complete environment."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def blocks(root: Path) -> list[str]:
    page = (root / "docs/how-to/add-an-environment.md").read_text()
    found: list[str] = re.findall(r"```yaml\n(.*?)```", page, re.S)
    return found


@pytest.fixture
def checkout(root: Path, tmp_path: Path, blocks: list[str]) -> Path:
    for top in ("apps", "clusters"):
        shutil.copytree(root / top, tmp_path / top)
    environment, application, line = blocks
    (tmp_path / "clusters/qa").mkdir()
    (tmp_path / "clusters/qa/kustomization.yaml").write_text(environment)
    (tmp_path / "clusters/single/qa.yaml").write_text(application)
    single = tmp_path / "clusters/single/kustomization.yaml"
    single.write_text(single.read_text().replace("resources:\n", f"resources:\n{line}"))
    return tmp_path


def test_it_takes_fewer_than_ten_lines(blocks: list[str]) -> None:
    assert sum(len(block.splitlines()) for block in blocks) < 10


def test_argo_cd_finds_the_new_environment(checkout: Path, kit: Any) -> None:
    manifests = kit.manifests(checkout)
    root = manifests.applications("single")["qa"]
    assert root["spec"]["source"]["path"] == "clusters/qa"
    assert root["spec"]["project"] == "platform"
    applications = manifests.applications("qa")
    assert len(applications) == len(manifests.applications("staging"))
    assert all(name.startswith("qa-") for name in applications)


def test_it_is_complete_and_shares_nothing_with_its_predecessor(checkout: Path, kit: Any) -> None:
    manifests = kit.manifests(checkout)
    added, existing = manifests.environment("qa"), manifests.environment("staging")
    assert len(added) == len(existing)
    assert "staging" not in str(added)
    namespaces = {
        manifest["metadata"].get("namespace", manifest["metadata"]["name"]) for manifest in added
    }
    assert namespaces == {"auditflow-qa"}
    assert {entry["metadata"]["labels"]["environment"] for entry in added} == {"qa"}
    (service,) = [
        item for item in kit.of_kind(added, "Service") if item["spec"].get("type") == "NodePort"
    ]
    assert service["spec"]["ports"][0]["nodePort"] == 30083
