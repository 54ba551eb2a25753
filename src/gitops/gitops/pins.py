"""The pins of a commit, read from git."""

from gitops import layout, pin
from gitops.errors import InvalidPinError
from gitops.git import Repository
from gitops.pin import Pin


def at(repository: Repository, revision: str, service: str, environment: str) -> Pin:
    """The pin of a service in an environment, in the given commit.

    Raises:
        InvalidPinError: the file is missing or does not have the expected format.
    """
    path = layout.release(service, environment)
    content = repository.read(revision, path)
    if content is None:
        raise InvalidPinError(path, f"is not in {revision[:12]}")
    existing = pin.read(content, path=path)
    if existing.service != service:
        raise InvalidPinError(path, f"names the service {existing.service!r}")
    return existing


def of(repository: Repository, revision: str, environment: str) -> dict[str, Pin]:
    """The pins of an environment, by service."""
    return {service: at(repository, revision, service, environment) for service in layout.SERVICES}
