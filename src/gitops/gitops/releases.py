"""Records of pushed images, one JSON file each. The build writes them, the bump reads them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from gitops.errors import GitOpsError
from gitops.layout import SERVICES
from gitops.pin import COMMIT, DIGEST, IMAGE, Pin


class InvalidReleaseError(GitOpsError):
    """A record of a build is not valid. ``source`` is the file or command that provided it."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source


@dataclass(frozen=True, kw_only=True)
class Release:
    """An image in a registry and the commit that it was built from."""

    service: str
    image: str
    commit: str
    digest: str

    @property
    def pin(self) -> Pin:
        """The pin that deploys this image."""
        return Pin(service=self.service, image=self.image, tag=self.commit, digest=self.digest)


def check(release: Release, *, source: str) -> Release:
    """Return the release if all of its fields are valid.

    Raises:
        InvalidReleaseError: names the invalid field.
    """
    if release.service not in SERVICES:
        raise InvalidReleaseError(
            source, f"{release.service!r} is not a service; the services are {', '.join(SERVICES)}"
        )
    for name, value, shape in (
        ("image", release.image, IMAGE),
        ("commit", release.commit, COMMIT),
        ("digest", release.digest, DIGEST),
    ):
        if not shape.fullmatch(value):
            raise InvalidReleaseError(source, f"{value!r} is not a valid {name}")
    return release


def write(release: Release, folder: Path) -> Path:
    """Write the record of one build to ``<folder>/<service>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{release.service}.json"
    file.write_text(f"{json.dumps(asdict(release), indent=2)}\n", encoding="utf-8")
    return file


def read(folder: Path) -> tuple[Release, ...]:
    """The records in a folder, sorted by file name. It is empty if nothing was built."""
    return tuple(_read(file) for file in sorted(folder.glob("*.json")))


def _read(file: Path) -> Release:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        release = Release(**content)
    except (ValueError, TypeError, OSError) as error:
        raise InvalidReleaseError(str(file), f"is not a record of a build ({error})") from None
    if not all(isinstance(value, str) for value in asdict(release).values()):
        raise InvalidReleaseError(str(file), "has a value that is not text")
    return check(release, source=str(file))


def require_unique_services(releases: Iterable[Release]) -> None:
    """Refuse two releases of the same service.

    Raises:
        InvalidReleaseError: names the service.
    """
    seen: set[str] = set()
    for release in releases:
        if release.service in seen:
            raise InvalidReleaseError(release.service, "is given twice")
        seen.add(release.service)
