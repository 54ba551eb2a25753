"""A pin: which image of a service an environment runs, as one small file says it. Pure."""

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from gitops.errors import InvalidPinError

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
#: A repository of images: a registry, and lower-case path components.
IMAGE: Final = re.compile(r"[a-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+")

#: The tag before anything was ever built.
UNRELEASED: Final = "unreleased"

_API_VERSION: Final = "kustomize.config.k8s.io/v1alpha1"
_HEADER: Final = "# What runs here. Written by CI only; to go back, revert its commit."


@dataclass(frozen=True, kw_only=True)
class Pin:
    """What runs: the image's repository, its tag (the commit it was built from), its digest."""

    service: str
    image: str
    tag: str
    digest: str

    @property
    def released(self) -> bool:
        """Whether there is an image at all."""
        return self.tag != UNRELEASED

    @property
    def reference(self) -> str:
        """The image for a registry: the digest decides, the tag is for people."""
        return f"{self.image}:{self.tag}@{self.digest}"


def write(pin: Pin) -> bytes:
    """The release component, a Kustomize Component that replaces the image by its bare name."""
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
    # One commit in a hundred million has no letter but e, and would be read as a number.
    return f'"{tag}"' if re.fullmatch(r"[0-9]+(?:e[0-9]+)?", tag) else tag


def read(content: bytes, *, path: str) -> Pin:
    """The pin in a release component.

    Raises:
        InvalidPinError: the file is not of that shape; says what is wrong with it.
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
            raise InvalidPinError(path, f"{key} is {value!r}, which is none")
    if tag != UNRELEASED and not COMMIT.fullmatch(tag):
        raise InvalidPinError(path, f"newTag is {tag!r}, which is no commit (40 hex digits)")
    return Pin(service=str(entry["name"]), image=entry["newName"], tag=tag, digest=entry["digest"])


def _entry(document: Any, path: str) -> dict[str, Any]:
    match document:
        case {"apiVersion": _, "kind": "Component", "images": [dict() as entry], **rest} if (
            not rest
        ):
            if set(entry) == {"name", "newName", "newTag", "digest"}:
                return entry
            raise InvalidPinError(path, "has not just name, newName, newTag and digest")
    raise InvalidPinError(path, "is not a Component with exactly one image")
