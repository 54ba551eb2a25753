"""The pins of a commit, read from git."""

from gitops import layout, pin
from gitops.errors import InvalidPinError
from gitops.git import Repository
from gitops.pin import Pin


def at(repository: Repository, revision: str, service: str, environment: str) -> Pin:
    """What an environment runs of a service, by a commit.

    Raises:
        InvalidPinError: the file is missing, or is not of its shape.
    """
    path = layout.release(service, environment)
    content = repository.read(revision, path)
    if content is None:
        raise InvalidPinError(path, f"is not in {revision[:12]}")
    found = pin.read(content, path=path)
    if found.service != service:
        raise InvalidPinError(path, f"is about {found.service!r}")
    return found


def of(repository: Repository, revision: str, environment: str) -> dict[str, Pin]:
    """What an environment runs, by service."""
    return {service: at(repository, revision, service, environment) for service in layout.SERVICES}
