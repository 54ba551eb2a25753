"""The end-to-end test publishes images for a cluster of KUBECONFIG."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from src.gitops.tests import registry as registries
from src.gitops.tests.registry import Registry

from lab import registry, shell
from lab.builders import Published

from .engine import Engine


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Registry]:
    if not registries.is_available():
        pytest.skip(f"needs {' and '.join(registries.PROGRAMS)}")
    with registries.serve(tmp_path) as server:
        yield server


@pytest.mark.parametrize("tool", ["docker", "podman", "buildah"])
def test_a_node_finds_what_was_pushed_by_its_digest(
    tool: str, running: Registry, tmp_path: Path
) -> None:
    # Given a program that builds
    usable = shutil.which(tool) and (tool == "buildah" or Engine(tool).works())
    if not usable:
        pytest.skip(f"{tool} does not work here")
    builder = Published(tool)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG SERVICE\nLABEL service=${SERVICE}\n")
    name = f"docker.io/jojees/auditflow-test-{tool}:e2e-1"
    there = registry.local(name, running.address)

    # When it builds an image and pushes it
    builder.build(tmp_path, name, dockerfile=tmp_path / "Dockerfile", arguments={"SERVICE": "test"})
    builder.push(name, there)
    shell.run(tool, "rmi", name, there)

    # Then whoever pulls it by the digest that a release component would pin gets it
    digest = registry.digest(name, running.address)
    pinned = f"{there.rpartition(':')[0]}@{digest}"
    insecure = () if tool == "docker" else ("--tls-verify=false",)
    shell.run(tool, "pull", *insecure, pinned)
    label = shell.run(tool, "inspect", "--type=image", pinned)
    shell.run(tool, "rmi", pinned)
    assert '"service": "test"' in label
