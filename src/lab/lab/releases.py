"""Images of the four services: built from this checkout, and versions derived from them.

A new version is the same program with another digest, which is enough to test a delivery. The
broken version never becomes ready. The erring version becomes ready and answers with errors.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypeVar

from gitops.layout import SERVICES

from . import paths, registry
from .builders import Builder
from .errors import LabError
from .progress import step
from .repository import Repository

T = TypeVar("T")
U = TypeVar("U")

#: The image name in the release components.
REPOSITORY = "docker.io/jojees/auditflow-{service}"


class Version(Enum):
    """The versions that the tests deploy. The value is the image's tag in the registry."""

    #: The last release, from another checkout. Only the test of upgrades uses it.
    LAST = "e2e-0"
    BUILT = "e2e-1"
    NEXT = "e2e-2"
    BROKEN = "e2e-3"
    ERRING = "e2e-4"


#: The services that have a version, if not all.
_SERVICES_OF = {
    Version.BROKEN: ("event-audit-dashboard",),
    Version.ERRING: ("event-audit-dashboard",),
}
#: The versions of the end-to-end test, and of the test of upgrades.
DELIVERY = (Version.BUILT, Version.NEXT, Version.BROKEN, Version.ERRING)
UPGRADE = (Version.LAST, Version.BUILT)

#: Changes of the built image, as lines of a Dockerfile.
_CHANGES = {
    Version.NEXT: 'LABEL org.opencontainers.image.version="e2e-2"',
    Version.BROKEN: 'ENTRYPOINT ["python3", "-c", "import time; time.sleep(86400)"]',
    # The dashboard requests alerts from a closed port.
    Version.ERRING: "ENV NOTIFICATION_SERVICE_PORT=9",
}


@dataclass(frozen=True)
class Release:
    """Tag and digest of a release component."""

    tag: str
    digest: str


def build(builder: Builder) -> None:
    """Build every version of the end-to-end test. Needs the machine's network."""
    build_from(builder, paths.REPOSITORY, Version.BUILT)

    def derive(item: tuple[str, Version]) -> None:
        service, version = item
        with tempfile.TemporaryDirectory() as folder:
            dockerfile = Path(folder) / "Dockerfile"
            lines = f"FROM {_name(service, Version.BUILT)}\n{_CHANGES[version]}\n"
            dockerfile.write_text(lines)
            builder.build(Path(folder), _name(service, version), dockerfile=dockerfile)

    with step("building the changed versions"):
        _for_each(derive, _images(tuple(_CHANGES)))


def build_from(builder: Builder, checkout: Path, version: Version) -> None:
    """Build the services of a checkout as a version. Needs the machine's network."""

    def build_service(service: str) -> None:
        with step(f"building the image of {service}, {version.value}"):
            builder.build(
                checkout,
                _name(service, version),
                dockerfile=checkout / "src" / "Dockerfile",
                arguments={"SERVICE": service},
            )

    _for_each(build_service, SERVICES)


def publish(
    builder: Builder, address: str, versions: tuple[Version, ...] = DELIVERY
) -> dict[tuple[str, Version], Release]:
    """Push the images of the versions to the cluster's registry.

    :param address: the registry, ``HOST:PORT``.
    """

    def push(item: tuple[str, Version]) -> Release:
        name = _name(*item)
        builder.push(name, registry.local(name, address))
        digest = registry.digest(name, address)
        if digest is None:
            raise LabError(f"{address} does not contain the pushed image {name}")
        return Release(item[1].value, digest)

    images = _images(versions)
    with step("publishing the services' images"):
        return dict(zip(images, _for_each(push, images), strict=True))


def push_as(builder: Builder, service: str, version: Version, tag: str, address: str) -> None:
    """Push the image of a version under another tag.

    :param address: the registry, ``HOST:PORT``.
    """
    reference = f"{REPOSITORY.format(service=service)}:{tag}"
    builder.push(_name(service, version), registry.local(reference, address))


def at_commits(
    repository: Repository, releases: dict[tuple[str, Version], Release]
) -> dict[tuple[str, Version], Release]:
    """Return the releases with a commit as their tag, as CI records them.

    Each version has an empty commit, a later version a later one. Missing commits are created.
    """
    commits = repository.marked_commits(
        [version.value for version in Version if any(key[1] is version for key in releases)]
    )
    return {
        (service, version): replace(release, tag=commits[version.value])
        for (service, version), release in releases.items()
    }


def component(repository: Repository, service: str, environment: str) -> Path:
    """Return the file with the version of a service in an environment."""
    return (
        repository.work / "apps" / service / "envs" / environment / "release" / "kustomization.yaml"
    )


def pin(repository: Repository, service: str, environment: str, release: Release) -> None:
    """Write a version into an environment's release component, like CI after a build."""
    file = component(repository, service, environment)
    text = re.sub(r"(newTag:).*", rf"\1 {release.tag}", file.read_text())
    file.write_text(re.sub(r"(digest:).*", rf"\1 {release.digest}", text))


def _name(service: str, version: Version) -> str:
    return f"{REPOSITORY.format(service=service)}:{version.value}"


def _images(versions: tuple[Version, ...]) -> list[tuple[str, Version]]:
    return [
        (service, version)
        for version in versions
        for service in _SERVICES_OF.get(version, SERVICES)
    ]


def _for_each(work: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """Run work for each item, two at a time. A build waits for downloads part of the time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, items))
