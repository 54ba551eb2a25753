"""Build the images on this machine, with whichever of docker, podman and buildah is here."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitops.errors import CommandError, GitOpsError, ProgramMissingError

#: In the order in which they are tried.
TOOLS: Final = ("docker", "podman", "buildah")
#: Says where the certificates are that this machine trusts, if not the system's own.
_CERTIFICATES: Final = "SSL_CERT_FILE"


@dataclass(frozen=True)
class Builder:
    """A program that builds images."""

    tool: str

    def command(
        self, *, context: Path, service: str, tag: str, revision: str, extra: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """What builds one image."""
        certificates = os.environ.get(_CERTIFICATES)
        secret = (f"--secret=id=ca,src={certificates}",) if certificates else ()
        return (
            self.tool,
            "build",
            f"--file={context / 'src' / 'Dockerfile'}",
            f"--build-arg=SERVICE={service}",
            f"--build-arg=VERSION={revision}",
            f"--build-arg=REVISION={revision}",
            f"--tag={tag}",
            *secret,
            *extra,
            str(context),
        )


def choose(wanted: str | None = None) -> Builder:
    """The program that was asked for, or the first that can build here.

    Raises:
        ProgramMissingError: none is on PATH.
        GitOpsError: docker is the only one, and its daemon does not run.
    """
    if wanted:
        if shutil.which(wanted) is None:
            raise ProgramMissingError(wanted, wanted_for="build images")
        return Builder(wanted)
    here = [tool for tool in TOOLS if shutil.which(tool)]
    if not here:
        raise ProgramMissingError(*TOOLS, wanted_for="build images")
    for tool in here:
        if tool != "docker" or _daemon_runs():
            return Builder(tool)
    raise GitOpsError("docker is here and its daemon does not answer. Start it, or install podman")


def build(builder: Builder, *, context: Path, service: str, tag: str, revision: str) -> None:
    """Build one image; what the program says goes where our own output goes.

    Raises:
        CommandError: the build failed.
    """
    command = builder.command(context=context, service=service, tag=tag, revision=revision)
    if subprocess.run(command, check=False).returncode:
        raise CommandError(" ".join(command), "see above")


def _daemon_runs() -> bool:
    done = subprocess.run(("docker", "info"), capture_output=True, check=False)
    return done.returncode == 0
