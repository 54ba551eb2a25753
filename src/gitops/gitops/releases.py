"""What a build leaves behind for the bump: one small JSON file for each image that was pushed."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from gitops.errors import GitOpsError
from gitops.layout import SERVICES
from gitops.pin import COMMIT, DIGEST, IMAGE, Pin


class InvalidReleaseError(GitOpsError):
    """A record of a build does not say what was built."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where


@dataclass(frozen=True, kw_only=True)
class Release:
    """An image in a registry, and the commit that it was built from."""

    service: str
    image: str
    commit: str
    digest: str

    @property
    def pin(self) -> Pin:
        """What an environment's file says to run it."""
        return Pin(service=self.service, image=self.image, tag=self.commit, digest=self.digest)


def check(release: Release, *, where: str) -> Release:
    """The same release, when each of its parts is well-formed.

    Raises:
        InvalidReleaseError: says which part is not.
    """
    if release.service not in SERVICES:
        raise InvalidReleaseError(
            where, f"{release.service!r} is no service; there are {', '.join(SERVICES)}"
        )
    for name, value, shape in (
        ("image", release.image, IMAGE),
        ("commit", release.commit, COMMIT),
        ("digest", release.digest, DIGEST),
    ):
        if not shape.fullmatch(value):
            raise InvalidReleaseError(where, f"{value!r} is no {name}")
    return release


def write(release: Release, folder: Path) -> Path:
    """Write the record of one build; its file is named after the service."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{release.service}.json"
    file.write_text(f"{json.dumps(asdict(release), indent=2)}\n", encoding="utf-8")
    return file


def read(folder: Path) -> tuple[Release, ...]:
    """The records in a folder, in the order of their names. None is no error: nothing was built."""
    return tuple(_read(file) for file in sorted(folder.glob("*.json")))


def _read(file: Path) -> Release:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        release = Release(**content)
    except (ValueError, TypeError, OSError) as error:
        raise InvalidReleaseError(str(file), f"is no record of a build ({error})") from None
    if not all(isinstance(value, str) for value in asdict(release).values()):
        raise InvalidReleaseError(str(file), "has a value that is not text")
    return check(release, where=str(file))


def refuse_two_of_one(releases: Iterable[Release]) -> None:
    """Each service at most once.

    Raises:
        InvalidReleaseError: one comes twice; names it.
    """
    seen: set[str] = set()
    for release in releases:
        if release.service in seen:
            raise InvalidReleaseError(release.service, "was given twice")
        seen.add(release.service)
