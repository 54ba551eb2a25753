"""Images of others are pinned by digest. The exceptions are listed, here and in docs/security.md."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

#: Images without a digest, because their digest cannot be verified where this list was written.
#: Renovate adds a digest with the next update; then the entry is removed here and in the page.
WITHOUT_DIGEST = {
    "docker.io/library/postgres",
    "ghcr.io/astral-sh/uv",
    "quay.io/argoproj/argo-rollouts",
    "quay.io/argoproj/argocd",
}
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def _images(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Name, digest (or an empty text) and file of each image that this repository does not build.

    Snapshots are copies of earlier bases, and a promotion replaces them.
    """
    for top in ("apps", "monitoring"):
        for file in sorted((root / top).rglob("*.yaml")):
            if "release" in file.parts or "snapshot" in file.parts:
                continue
            for document in yaml.load_all(file.read_text("utf-8"), yaml.CSafeLoader):
                if not isinstance(document, dict):
                    continue
                images = document.get("images")
                for image in images if isinstance(images, list) else ():
                    if "newTag" in image:
                        name = image.get("newName", image["name"])
                        yield name, image["newTag"].partition("@")[2], file
            for name, digest in re.findall(
                r"image(?:Name)?: ([\w.-]+\.[a-z]+/[\w./-]+):[\w.-]+(?:@(\S+))?",
                file.read_text("utf-8"),
            ):
                yield name, digest, file
    for path in ("src/Dockerfile", ".github/k3d.yaml"):
        for name, digest in re.findall(
            r"^(?:ARG [A-Z]+=|FROM |image: )([\w.-]+\.[a-z]+/[\w./-]+):[\w.-]+(?:@(\S+))?",
            (root / path).read_text("utf-8"),
            re.MULTILINE,
        ):
            yield name, digest, root / path


def test_images_have_a_digest_or_are_listed(root: Path) -> None:
    images = list(_images(root))
    assert len({name for name, _, _ in images}) >= 12
    without = {name for name, digest, _ in images if not DIGEST.fullmatch(digest)}
    assert without == WITHOUT_DIGEST, {
        str(file.relative_to(root)) for name, _, file in images if name in without - WITHOUT_DIGEST
    }


def test_renovate_can_update_the_images(root: Path) -> None:
    # Renovate skips an entry that has both newTag and digest.
    skipped = [
        (str(file.relative_to(root)), image["name"])
        for top in ("apps", "monitoring")
        for file in (root / top).rglob("kustomization.yaml")
        if not {"release", "snapshot"} & {*file.parts}
        for image in yaml.load(file.read_text("utf-8"), yaml.CSafeLoader).get("images", ())
        if "newTag" in image and "digest" in image
    ]
    assert skipped == []


def test_the_same_image_has_one_digest_in_all_manifests(root: Path) -> None:
    found: dict[str, set[str]] = {}
    for name, digest, file in _images(root):
        if file.name != "Dockerfile":
            found.setdefault(name, set()).add(digest)
    assert [name for name, digests in found.items() if len(digests) > 1] == []


def test_exceptions_are_accepted_risks(root: Path) -> None:
    page = (root / "docs/security.md").read_text("utf-8")
    risks = page.partition("## Accepted risks")[2]
    assert [name for name in sorted(WITHOUT_DIGEST) if f"`{name}`" not in risks] == []


def test_renovate_pins_digests_in_all_files_with_images(root: Path) -> None:
    rules = json.loads((root / "renovate.json").read_text("utf-8"))["packageRules"]
    pinned = {
        name for rule in rules if rule.get("pinDigests") for name in rule.get("matchFileNames", ())
    }
    managers = json.loads((root / "renovate.json").read_text("utf-8"))["customManagers"]
    for manager in managers:
        if manager.get("datasourceTemplate") == "docker":
            # Without this group, a custom manager cannot write a digest.
            assert all("(?<currentDigest>" in text for text in manager["matchStrings"])
    assert {"src/Dockerfile", "apps/**", "monitoring/**", ".github/k3d.yaml"} <= pinned
