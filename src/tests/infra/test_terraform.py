"""The Terraform of the machines: tests that need no provider, and properties that all environments share.

The tests with a mocked provider need its schema from the registry. CI runs them.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT

TERRAFORM = ROOT / "infra/terraform"
CLOUD = ("dev", "staging", "prod")
#: What needs no provider, and so no registry.
ALONE = ("modules/layout", "modules/inventory", "environments/existing")
PROGRAM = shutil.which("tofu") or shutil.which("terraform")
needs_terraform = pytest.mark.skipif(PROGRAM is None, reason="neither tofu nor terraform is here")


def run(folder: Path, *arguments: str) -> str:
    assert PROGRAM
    done = subprocess.run(
        (PROGRAM, *arguments), cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"TF_CLI_CONFIG_FILE": os.devnull, "TF_IN_AUTOMATION": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The folder, where init may write."""
    made = tmp_path / "terraform"
    shutil.copytree(TERRAFORM, made, ignore=shutil.ignore_patterns(".terraform"))
    return made


@needs_terraform
def test_it_is_formatted() -> None:
    run(TERRAFORM, "fmt", "-check", "-recursive", "-diff")


@needs_terraform
@pytest.mark.parametrize("configuration", ALONE)
def test_what_needs_no_provider_passes_its_tests(copy: Path, configuration: str) -> None:
    run(copy / configuration, "init", "-backend=false")
    run(copy / configuration, "validate")

    assert "0 failed" in run(copy / configuration, "test", "-no-color")


@needs_terraform
def test_ansible_reads_the_inventory_as_it_is_meant(copy: Path) -> None:
    configuration = copy / "environments/existing"
    run(configuration, "init", "-backend=false")
    run(configuration, "apply", "-auto-approve", "-var-file=terraform.example.tfvars")

    inventory = yaml.safe_load(
        json.loads(run(configuration, "output", "-json"))["inventory"]["value"]
    )

    ours = yaml.safe_load((ROOT / "infra/ansible/inventory/hosts.yaml").read_text())
    assert inventory["k3s_cluster"]["children"] == ours["k3s_cluster"]["children"]


@pytest.mark.parametrize("name", CLOUD)
def test_an_environment_keeps_its_state_elsewhere_encrypted_and_locked(name: str) -> None:
    text = (TERRAFORM / f"environments/{name}/versions.tf").read_text()

    backend = re.search(r'backend "s3" \{(.*?)\n  \}', text, re.DOTALL)
    assert backend
    settings = dict(re.findall(r"(\w+)\s+= (.+)", backend[1]))
    assert settings == {
        "key": f'"auditflow/{name}.tfstate"', "encrypt": "true", "use_lockfile": "true"
    }  # fmt: skip


def test_environments_differ_only_in_what_they_are() -> None:
    shared = ("variables.tf", "terraform.example.tfvars", "backend.example.hcl")
    for file in shared:
        assert len({(TERRAFORM / f"environments/{name}" / file).read_text() for name in CLOUD}) == 1


def test_no_secret_is_in_it() -> None:
    ignored = ("terraform.tfvars", "backend.hcl", "terraform.tfstate")
    for name in ignored:
        path = TERRAFORM / "environments/prod" / name
        done = subprocess.run(("git", "check-ignore", "-q", str(path)), cwd=ROOT, check=False)
        assert done.returncode == 0, f"git does not ignore {path}"
    for path in TERRAFORM.rglob("*"):
        if path.is_file() and ".terraform" not in path.parts and path.suffix in {".tf", ".tfvars"}:
            assert not re.search(r'(?:token|secret_key|password)\s*=\s*"', path.read_text()), path
