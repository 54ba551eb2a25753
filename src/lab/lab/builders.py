"""Image builders: one for a machine without access to an image registry, one for other machines."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gitops import images

from . import buildah, shell, stand_ins
from .progress import step

#: The address of the registry of a given cluster. Its nodes query it before Docker Hub.
REGISTRY = "E2E_REGISTRY"
_DIGEST = re.compile("@sha256:[0-9a-f]+")


class Builder(Protocol):
    """Builds images and copies them to a registry."""

    def build(
        self,
        context: Path,
        tag: str,
        *,
        dockerfile: Path,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """Build an image from a Dockerfile."""

    def push(self, tag: str, destination: str) -> None:
        """Copy an image to a registry without TLS."""


class StandAlone:
    """buildah, with stand-ins for the base images of Dockerfiles."""

    def __init__(self) -> None:
        self._layers: set[str] = set()

    def build(
        self,
        context: Path,
        tag: str,
        *,
        dockerfile: Path,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """Build with the machine's certificate authorities, which a proxy can require."""
        # buildah replaces no image whose name has a digest.
        text = _DIGEST.sub("", dockerfile.read_text("utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            unpinned = Path(folder, "Dockerfile")
            unpinned.write_text(text, "utf-8")
            self._layers |= buildah.build(
                context,
                tag,
                dockerfile=unpinned,
                arguments=arguments,
                stand_ins=_bases(text),
                trust=True,
            )

    def push(self, tag: str, destination: str) -> None:
        """Copy an image to a registry on this machine."""
        buildah.push(tag, destination)

    def remove_old_layers(self) -> None:
        """Limit the size of the build cache. The layers of this builder's images stay."""
        with step("removing old layers"):
            buildah.remove_old_layers(self._layers)


@dataclass(frozen=True)
class Published:
    """docker, podman or buildah, with the published base images."""

    tool: str

    def build(
        self,
        context: Path,
        tag: str,
        *,
        dockerfile: Path,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """Build as `make images` does."""
        certificates = os.environ.get("SSL_CERT_FILE")
        secret = (f"--secret=id=ca,src={certificates}",) if certificates else ()
        words = (f"--build-arg={name}={value}" for name, value in (arguments or {}).items())
        shell.run(
            *(self.tool, "build", f"--file={dockerfile}", f"--tag={tag}", *secret, *words, context)
        )

    def push(self, tag: str, destination: str) -> None:
        """Copy an image to a registry. Docker permits plain HTTP for a registry on the loopback."""
        shell.run(self.tool, "tag", tag, destination)
        insecure = () if self.tool == "docker" else ("--tls-verify=false",)
        shell.run(self.tool, "push", "--quiet", *insecure, destination)


def published() -> Published:
    """The first program that builds images on this machine."""
    return Published(images.choose().tool)


def _bases(dockerfile: str) -> dict[str, str]:
    """Return the stand-ins for the base images of a Dockerfile, by the names of these images."""
    names = re.findall(r"[\w.-]+(?:/[\w.-]+)+:[\w.-]+", dockerfile)
    found = {name: stand_ins.find(name) for name in names}
    return {name: stand_in.image for name, stand_in in found.items() if stand_in is not None}
