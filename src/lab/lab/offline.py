"""Replace references of the served repository to the internet.

Kustomize bases in repositories of other projects are copied from their Go modules at the same
version. Images are replaced by stand-ins in the registry of the cluster, under the names that the
manifests use.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from . import registry, shell, stand_ins, toolchain
from .errors import CommandFailed, LabError
from .progress import step
from .repository import Repository

_VENDOR = ".vendor"
_REMOTE = re.compile(
    r"https://(?:github\.com/argoproj/(?P<a>argo-cd|argo-rollouts)//(?P<folder>[^?\s]+)\?ref=v(?P<v>\S+)"
    r"|raw\.githubusercontent\.com/argoproj/(?P<b>argo-cd|argo-rollouts)/v(?P<w>[^/\s]+)/(?P<file>\S+))"
)
_MODULES = {
    "argo-cd": ("argocd", "github.com/argoproj/argo-cd/v3", toolchain.ARGO_CD),
    "argo-rollouts": ("rollouts", "github.com/argoproj/argo-rollouts", toolchain.ARGO_ROLLOUTS),
}
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})")


@dataclass
class Rendered:
    """The rendered overlays of a repository."""

    #: Every image that a pod would run.
    images: set[str] = field(default_factory=set)
    #: Overlays that could not be rendered here, with the reason.
    failed: dict[str, str] = field(default_factory=dict)


def vendor(repository: Repository) -> list[str]:
    """Replace remote bases by copies in the repository. Returns the replaced references."""
    replaced = []
    for file in sorted(repository.work.rglob("kustomization.yaml")):
        text = file.read_text()
        for match in _REMOTE.finditer(text):
            base = _copy(repository, match)
            up = "../" * len(file.parent.relative_to(repository.work).parts)
            text = text.replace(match[0], f"{up}{base}")
            replaced.append(match[0])
        file.write_text(text)
    return replaced


def provide_images(images: set[str]) -> tuple[dict[str, str], list[str]]:
    """Put a stand-in for each image into the registry, under the name that manifests use.

    :returns: the digests of stand-ins by the digests that manifests pin, and the images without a
        stand-in.
    """
    digests: dict[str, str] = {}
    missing = []
    with step(f"providing {len(images)} images"):
        for image in sorted(images):
            stand_in = stand_ins.find(image)
            if stand_in is None:
                if registry.digest(image) is None:
                    missing.append(image)
                continue
            stand_ins.provide(stand_in, image)
            pinned = _DIGEST.search(image)
            if pinned:
                by_tag = image.partition("@")[0]  # the registry does not have the published digest
                digests[pinned[1]] = registry.digest(by_tag) or pinned[1]
    return digests, missing


def substitute_digests(repository: Repository, digests: dict[str, str]) -> None:
    """Replace digests of published images by the digests of their stand-ins."""
    for file in repository.work.rglob("*.yaml"):
        text = new = file.read_text()
        for old, ours in digests.items():
            new = new.replace(old, ours)
        if new != text:
            file.write_text(new)


def render(repository: Repository, overlays: list[Path]) -> Rendered:
    """Render overlays as Argo CD would, and collect their images."""

    def build(overlay: Path) -> str | CommandFailed:
        try:
            return shell.run(toolchain.binary("kustomize"), "build", overlay)
        except CommandFailed as error:
            return error

    rendered = Rendered()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for overlay, built in zip(overlays, pool.map(build, overlays), strict=True):
            if isinstance(built, CommandFailed):
                name = str(overlay.relative_to(repository.work))
                rendered.failed[name] = built.output.splitlines()[-1]
                continue
            for thing in yaml.load_all(built, Loader=_Loader):
                rendered.images.update(_images(thing))
    return rendered


#: The C parser is ten times as fast, and the CRDs are long.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _images(thing: object) -> Iterator[str]:
    """Yield the images of all containers of an object of any kind."""
    match thing:
        case dict():
            for key, value in thing.items():
                if key in ("containers", "initContainers") and isinstance(value, list):
                    yield from (item["image"] for item in value if "image" in item)
                yield from _images(value)
        case list():
            for value in thing:
                yield from _images(value)


def _copy(repository: Repository, match: re.Match[str]) -> str:
    project = match["a"] or match["b"]
    module, path, built = _MODULES[project]
    requested = match["v"] or match["w"]
    if requested != built:
        raise LabError(f"{match[0]} is not the version that the lab builds, {built}")
    copy = repository.work / _VENDOR / project
    if not copy.exists():
        shutil.copytree(toolchain.source(module, path) / "manifests", copy / "manifests")
        shell.run("chmod", "-R", "u+w", copy)
    if match["folder"]:
        return f"{_VENDOR}/{project}/{match['folder']}"
    return _folder_of(copy, project, Path(match["file"]))


def _folder_of(copy: Path, project: str, file: Path) -> str:
    # Kustomize reads folders anywhere in the repository, but files only below its own folder.
    folder = copy / "files" / file.stem
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(copy / file, folder / file.name)
    (folder / "kustomization.yaml").write_text(f"resources: [{file.name}]\n")
    return f"{_VENDOR}/{project}/files/{file.stem}"
