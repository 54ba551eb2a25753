"""A pin: the file that states which image of a service an environment runs. Pure."""

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from gitops.errors import InvalidPinError

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
#: An image repository: a registry and lower-case path components.
IMAGE: Final = re.compile(r"[a-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+")

#: The tag of a service that has never been built.
UNRELEASED: Final = "unreleased"

_API_VERSION: Final = "kustomize.config.k8s.io/v1alpha1"
_HEADER: Final = (
    "# The image that runs here. Only CI writes this file. To roll back, revert the commit."
)


@dataclass(frozen=True, kw_only=True)
class Pin:
    """An image: its repository, its tag (the commit that it was built from) and its digest."""

    service: str
    image: str
    tag: str
    digest: str

    @property
    def released(self) -> bool:
        """Whether an image exists."""
        return self.tag != UNRELEASED

    @property
    def reference(self) -> str:
        """The image reference. The digest selects the image; the tag is for people."""
        return f"{self.image}:{self.tag}@{self.digest}"


def write(pin: Pin) -> bytes:
    """The release component: a Kustomize Component that sets the image of the service."""
    return (
        f"{_HEADER}\n"
        f"apiVersion: {_API_VERSION}\n"
        "kind: Component\n"
        "images:\n"
        f"- name: {pin.service}\n"
        f"  newName: {pin.image}\n"
        f"  newTag: {_text(pin.tag)}\n"
        f"  digest: {pin.digest}\n"
    ).encode()


def _text(tag: str) -> str:
    # A commit id that has only digits and one "e" would be parsed as a number without quotes.
    return f'"{tag}"' if re.fullmatch(r"[0-9]+(?:e[0-9]+)?", tag) else tag


def read(content: bytes, *, path: str) -> Pin:
    """Parse a release component. ``path`` is used in error texts.

    Raises:
        InvalidPinError: the file does not have the expected format.
    """
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidPinError(path, f"is not YAML ({error})") from None
    entry = _entry(document, path)
    tag = entry["newTag"]
    if not isinstance(tag, str):
        raise InvalidPinError(path, "newTag is not text (put it in quotes)")
    for key, value, shape in (
        ("newName", entry["newName"], IMAGE),
        ("digest", entry["digest"], DIGEST),
    ):
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise InvalidPinError(path, f"{key} is {value!r}, which is not valid")
    if tag != UNRELEASED and not COMMIT.fullmatch(tag):
        raise InvalidPinError(path, f"newTag is {tag!r}, which is not a commit id (40 hex digits)")
    return Pin(service=str(entry["name"]), image=entry["newName"], tag=tag, digest=entry["digest"])


def _entry(document: Any, path: str) -> dict[str, Any]:
    match document:
        case {"apiVersion": _, "kind": "Component", "images": [dict() as entry], **rest} if (
            not rest
        ):
            if set(entry) == {"name", "newName", "newTag", "digest"}:
                return entry
            raise InvalidPinError(
                path, "must have exactly the keys name, newName, newTag and digest"
            )
    raise InvalidPinError(path, "is not a Component with exactly one image")
