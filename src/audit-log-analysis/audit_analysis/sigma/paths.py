"""File paths as an attacker may write them, brought to one spelling."""

import posixpath
from functools import lru_cache

from auditflow.contract.event import Event

#: Where sources put the path of a file, besides ``resource``.
_DETAILS = ("path", "file", "file_path", "file_name", "filename", "target", "TargetFilename")
_ALL = frozenset({"resource", *_DETAILS})


@lru_cache(4096)
def normalise(path: str) -> str:
    """The path without ``//``, ``/./`` and ``/../``. Links are not followed: no file is here."""
    if not path.startswith("/"):
        return path
    # POSIX lets exactly two leading slashes mean something of their own; Linux does not.
    return posixpath.normpath("/" + path.lstrip("/"))


def of_event(event: Event) -> tuple[str, ...]:
    """Every file path that the event carries, normalised."""
    details = event.details
    if not details or _ALL.isdisjoint(details):  # as in most
        return (normalise(event.resource),) if event.resource else ()
    found = [event.resource, details.get("resource"), *(details.get(name) for name in _DETAILS)]
    return tuple(dict.fromkeys(normalise(path) for path in found if isinstance(path, str) and path))
