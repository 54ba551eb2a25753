"""The four services as images: the one built from this checkout, and versions made from it.

CI builds an image for each change; here a new version is the same program under another digest,
which is all that a delivery is about. The broken one starts and never becomes
ready; the erring one becomes ready, and its pages are errors.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from . import paths, registry
from .builders import Builder
from .errors import LabError
from .progress import step
from .repository import Repository

SERVICES = (
    "audit-event-generator",
    "audit-log-analysis",
    "notification-service",
    "event-audit-dashboard",
)
ENVIRONMENTS = ("dev", "staging", "prod")
#: Where the release components say that the images are.
REPOSITORY = "docker.io/jojees/auditflow-{service}"


class Version(Enum):
    """The versions that the tests deploy; the value is the image's tag."""

    BUILT = "e2e-1"
    NEXT = "e2e-2"
    BROKEN = "e2e-3"
    ERRING = "e2e-4"


#: What is done to the built image, as lines of a Dockerfile.
_CHANGES = {
    Version.NEXT: 'LABEL org.opencontainers.image.version="e2e-2"',
    Version.BROKEN: 'ENTRYPOINT ["python3", "-c", "import time; time.sleep(86400)"]',
    # The dashboard asks a port for alerts where nobody listens.
    Version.ERRING: "ENV NOTIFICATION_SERVICE_PORT=9",
}


@dataclass(frozen=True)
class Release:
    """What a release component says: a tag for people, and the digest that counts."""

    tag: str
    digest: str


def build(builder: Builder) -> None:
    """Build every version of every service, with the machine's network for their packages."""
    for service in SERVICES:
        with step(f"building the image of {service}"):
            builder.build(
                paths.REPOSITORY,
                _name(service, Version.BUILT),
                dockerfile=paths.REPOSITORY / "src" / "Dockerfile",
                arguments={"SERVICE": service},
            )
        for version, change in _CHANGES.items():
            with tempfile.TemporaryDirectory() as folder:
                dockerfile = Path(folder) / "Dockerfile"
                dockerfile.write_text(f"FROM {_name(service, Version.BUILT)}\n{change}\n")
                builder.build(Path(folder), _name(service, version), dockerfile=dockerfile)


def publish(builder: Builder, address: str) -> dict[tuple[str, Version], Release]:
    """Push them all to the cluster's registry, as CI pushes to the published one.

    :param address: the registry, ``HOST:PORT``.
    """
    releases = {}
    with step("publishing the services' images"):
        for service in SERVICES:
            for version in Version:
                name = _name(service, version)
                builder.push(name, registry.local(name, address))
                digest = registry.digest(name, address)
                if digest is None:
                    raise LabError(f"{address} does not have {name}, which was just pushed")
                releases[service, version] = Release(version.value, digest)
    return releases


def component(repository: Repository, service: str, environment: str) -> Path:
    """The file that says which version of a service runs in an environment."""
    return (
        repository.work / "apps" / service / "envs" / environment / "release" / "kustomization.yaml"
    )


def pin(repository: Repository, service: str, environment: str, release: Release) -> None:
    """Write a version into an environment's release component, as CI does after a build."""
    file = component(repository, service, environment)
    text = re.sub(r"(newTag:).*", rf"\1 {release.tag}", file.read_text())
    file.write_text(re.sub(r"(digest:).*", rf"\1 {release.digest}", text))


def promote(repository: Repository, service: str, *, source: str, target: str) -> None:
    """Copy a release component to the next environment, as the promotion's pull request does."""
    text = component(repository, service, source).read_text()
    component(repository, service, target).write_text(text)


def _name(service: str, version: Version) -> str:
    return f"{REPOSITORY.format(service=service)}:{version.value}"
