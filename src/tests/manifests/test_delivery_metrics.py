"""The pod that serves the DORA metrics."""

import re
from pathlib import Path
from typing import Any


def test_container_with_git_uses_the_image_of_argo_cd_that_the_node_has(
    root: Path, kit: Any
) -> None:
    upstream = (root / "bootstrap/argocd/upstream/kustomization.yaml").read_text("utf-8")
    (version,) = re.findall(r"manifests/cluster-install\?ref=(v[\d.]+)", upstream)
    rendered = kit.render(root / "apps/platform/delivery-metrics")
    (deployment,) = kit.of_kind(rendered, "Deployment")
    images = [
        container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]
    ]
    assert f"quay.io/argoproj/argocd:{version}" in images


def test_each_optional_part_has_only_its_own_program(root: Path, kit: Any) -> None:
    for name, program in (("promoter", "promoter"), ("delivery-metrics", "delivery-metrics")):
        rendered = kit.render(root / "apps/platform" / name)
        programs = [
            item["metadata"]["name"]
            for item in kit.of_kind(rendered, "ConfigMap")
            if "-program-" in item["metadata"]["name"]
        ]
        assert len(programs) == 1
        assert programs[0].startswith(f"{program}-program-")
