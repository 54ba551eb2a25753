"""What an environment lets run, asked of Kyverno's own program.

Where kyverno (1.19) is not on PATH these are skipped, as are those that need a registry. Both build
from the Go module proxy: go install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.2; kyverno from
its module's folder, cmd/cli/kubectl-kyverno.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gitops import inspection

from . import registry as registries
from .forge import ROOT
from .programs import kustomize
from .registry import Registry

COMPONENT = ROOT / "apps/components/signed-images"
POLICIES = ("known-images", "signed-images")


def policy(name: str) -> dict[str, Any]:
    return yaml.safe_load((COMPONENT / f"{name}.yaml").read_text())


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [one for one in programs if shutil.which(one) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not on PATH: {', '.join(missing)}")


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_valid(name):
    place = os.environ.get("CRD_SCHEMAS", "")
    if not place or "://" in place:
        pytest.skip("CRD_SCHEMAS names no folder of schemas")
    document = policy(name)
    group, version = document["apiVersion"].split("/")
    file = Path(place.format(group=group, kind=document["kind"].lower(), version=version))
    jsonschema.validate(document, json.loads(file.read_text()))


def test_who_must_have_signed_is_said_once():
    """What promote and the scheduled check verify is what the cluster verifies."""
    keyless = policy("signed-images")["spec"]["attestors"][0]["cosign"]["keyless"]
    assert keyless["identities"] == [
        {"issuer": inspection.ISSUER, "subject": inspection.identity("jojees/project-genesis")}
    ]


def test_both_say_no_when_in_doubt():
    for name in POLICIES:
        spec = policy(name)["spec"]
        assert (spec["validationActions"], spec["failurePolicy"]) == (["Deny"], "Fail")


def test_all_that_an_environment_runs_is_known():
    """Each image in apps/ is on the list, or the environment would not come up."""
    known = policy("known-images")["spec"]["variables"][1]["expression"]
    prefixes = [word for word in known.split("'") if "/" in word]
    named = {
        f"{entry['newName']}:"
        for file in (ROOT / "apps").rglob("kustomization.yaml")
        if "platform" not in file.parts
        for entry in (yaml.safe_load(file.read_text()).get("images") or ())
    }
    assert named
    assert [one for one in named if not one.startswith(tuple(prefixes))] == []


def test_the_component_goes_into_the_namespace(tmp_path: Path):
    """As docs/how-to/verify-an-image.md switches it on."""
    for tree in ("namespace", "components"):
        shutil.copytree(ROOT / "apps" / tree, tmp_path / "apps" / tree)
    file = tmp_path / "apps/namespace/envs/prod/kustomization.yaml"
    line = "components:\n- ../../../components/signed-images\n"
    assert line in (ROOT / "docs/how-to/verify-an-image.md").read_text()
    file.write_text(f"{file.read_text()}{line}")
    done = subprocess.run(
        (kustomize(), "build", file.parent), capture_output=True, text=True, check=True
    )
    found = [one for one in yaml.safe_load_all(done.stdout) if "policies" in one["apiVersion"]]
    assert {one["metadata"]["name"] for one in found} == set(POLICIES)
    assert {one["metadata"]["namespace"] for one in found} == {"auditflow-prod"}


@needs("kyverno")
def test_what_is_not_known_does_not_run():
    done = subprocess.run(
        ("kyverno", "test", Path(__file__).parent / "admission"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 tests passed and 0 tests failed" in done.stdout


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with registries.serve(tmp_path) as running:
        yield running


@needs("kyverno", "cosign", *registries.PROGRAMS)
def test_only_what_is_signed_runs(registry: Registry, tmp_path: Path):
    """The policy as it is, but for whose signature it asks: GitHub's cannot be had offline."""
    signed, unsigned = registry.push("signed"), registry.push("unsigned")
    registry.run("cosign", "generate-key-pair")
    registry.run(
        "cosign", "sign", "--yes", "--key=cosign.key", "--tlog-upload=false",
        "--new-bundle-format=false", "--use-signing-config=false", "--allow-insecure-registry", signed,
    )  # fmt: skip
    tried = policy("signed-images")
    key = (tmp_path / "cosign.pub").read_text()
    without_log = {"insecureIgnoreTlog": True, "insecureIgnoreSCT": True}
    tried["spec"]["attestors"][0]["cosign"] = {"key": {"data": key}, "ctlog": without_log}
    tried["spec"]["matchImageReferences"] = [{"glob": f"{registry.address}/jojees/auditflow-*"}]
    tried["spec"]["credentials"] = {"allowInsecureRegistry": True}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(tried))

    results = {}
    for name, images, first in (
        ("signed", [signed], []),
        ("unsigned", [unsigned], []),
        ("beside", [signed, unsigned], []),
        ("before", [signed], [unsigned]),
        ("by-tag", [signed.split("@")[0]], []),
    ):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "auditflow-prod"},
            "spec": {
                "containers": [{"name": f"c{at}", "image": one} for at, one in enumerate(images)],
                **(
                    {"initContainers": [{"name": "i", "image": one} for one in first]}
                    if first
                    else {}
                ),
            },
        }
        (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
        done = subprocess.run(
            ("kyverno", "apply", "policy.yaml", "--resource", "pod.yaml", "--registry"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert "error: 0" in done.stdout, done.stdout + done.stderr
        results[name] = "pass: 1, fail: 0" in done.stdout
    assert results == {
        "signed": True, "unsigned": False, "beside": False, "before": False, "by-tag": False,
    }  # fmt: skip
