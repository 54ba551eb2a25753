"""Normalises file paths, because an attacker may write the same path in several ways."""

import posixpath
from functools import lru_cache

from auditflow.contract.event import Event

#: Fields in which sources put the path of a file, besides ``resource``.
_DETAILS = ("path", "file", "file_path", "file_name", "filename", "target", "TargetFilename")
_ALL = frozenset({"resource", *_DETAILS})


@lru_cache(4096)
def normalise(path: str) -> str:
    """The path without ``//``, ``/./`` and ``/../``. Links are not resolved."""
    if not path.startswith("/"):
        return path
    # normpath keeps two leading slashes, which POSIX allows to be special. Linux ignores them.
    return posixpath.normpath("/" + path.lstrip("/"))


def of_event(event: Event) -> tuple[str, ...]:
    """All file paths of an event, normalised."""
    details = event.details
    if not details or _ALL.isdisjoint(details):  # The most frequent case.
        return (normalise(event.resource),) if event.resource else ()
    found = [event.resource, details.get("resource"), *(details.get(name) for name in _DETAILS)]
    return tuple(dict.fromkeys(normalise(path) for path in found if isinstance(path, str) and path))
