"""The image policies, tested with the command line of Kyverno and images signed by cosign.

Both programs are built from the Go module proxy (admission/tools/go.mod). The test with images needs
Debian's packages buildah and docker-registry.
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
from .programs import cosign, kyverno
from .registry import Registry

FOLDER = ROOT / "apps/platform/image-policies"
#: Includes the time to build Kyverno for the first time.
pytestmark = pytest.mark.timeout(2400)
POLICIES = ("known-images", "signed-images")


def policy(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not on PATH: {', '.join(missing)}")


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_valid(name):
    path_format = os.environ.get("CRD_SCHEMAS", "")
    if not path_format or "://" in path_format:
        pytest.skip("CRD_SCHEMAS is not set to a folder of schemas")
    document = policy(name)
    group, version = document["apiVersion"].split("/")
    file = Path(path_format.format(group=group, kind=document["kind"].lower(), version=version))
    jsonschema.validate(document, json.loads(file.read_text()))


def test_cluster_and_pipeline_require_the_same_signer():
    """The cluster verifies the identity that `promote` and the nightly check verify."""
    keyless = policy("signed-images")["spec"]["attestors"][0]["cosign"]["keyless"]
    assert keyless["identities"] == [
        {"issuer": inspection.ISSUER, "subject": inspection.identity("jojees/project-genesis")}
    ]


def test_policies_deny_and_fail_closed():
    for name in POLICIES:
        spec = policy(name)["spec"]
        assert (spec["validationActions"], spec["failurePolicy"]) == (["Deny"], "Fail")


def test_all_images_of_an_environment_are_on_the_list():
    """Otherwise the environment would not start."""
    known = policy("known-images")["spec"]["variables"][1]["expression"]
    prefixes = [word for word in known.split("'") if "/" in word]
    images = {
        f"{entry['newName']}:"
        for file in (ROOT / "apps").rglob("kustomization.yaml")
        if "platform" not in file.parts
        for entry in (yaml.safe_load(file.read_text()).get("images") or ())
    }
    assert images
    assert [image for image in images if not image.startswith(tuple(prefixes))] == []


def test_unknown_images_are_denied():
    process = subprocess.run(
        (kyverno(), "test", Path(__file__).parent / "admission"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "9 tests passed and 0 tests failed" in process.stdout


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with registries.serve(tmp_path) as running:
        yield running


@needs(*registries.PROGRAMS)
def test_only_images_of_the_right_signer_are_admitted(registry: Registry, tmp_path: Path):
    """The policy with a local key, because a signature of GitHub is not available offline."""
    signed, unsigned = registry.push("signed"), registry.push("unsigned")
    of_another = registry.push("of-another")
    for key, image in (("cosign", signed), ("another", of_another)):
        registry.run(cosign(), "generate-key-pair", f"--output-key-prefix={key}")
        registry.run(
            cosign(), "sign", "--yes", f"--key={key}.key", "--tlog-upload=false",
            "--new-bundle-format=false", "--use-signing-config=false",
            "--allow-insecure-registry", image,
        )  # fmt: skip
    local_policy = policy("signed-images")
    key = (tmp_path / "cosign.pub").read_text()
    without_log = {"insecureIgnoreTlog": True, "insecureIgnoreSCT": True}
    local_policy["spec"]["attestors"][0]["cosign"] = {"key": {"data": key}, "ctlog": without_log}
    local_policy["spec"]["matchImageReferences"] = [
        {"glob": f"{registry.address}/jojees/auditflow-*"}
    ]
    local_policy["spec"]["credentials"] = {"allowInsecureRegistry": True}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(local_policy))

    results = {}
    for name, images, first in (
        ("signed", [signed], []),
        ("unsigned", [unsigned], []),
        ("of-another", [of_another], []),
        ("beside", [signed, unsigned], []),
        ("before", [signed], [unsigned]),
        ("by-tag", [signed.split("@")[0]], []),
    ):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "auditflow-prod"},
            "spec": {
                "containers": [
                    {"name": f"c{index}", "image": image} for index, image in enumerate(images)
                ],
                **(
                    {"initContainers": [{"name": "i", "image": image} for image in first]}
                    if first
                    else {}
                ),
            },
        }
        (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
        process = subprocess.run(
            (kyverno(), "apply", "policy.yaml", "--resource", "pod.yaml", "--registry"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert "error: 0" in process.stdout, process.stdout + process.stderr
        results[name] = "pass: 1, fail: 0" in process.stdout
    assert results == {
        "signed": True, "unsigned": False, "of-another": False, "beside": False, "before": False, "by-tag": False,
    }  # fmt: skip
