"""Build the images on this machine with docker, podman or buildah."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitops.errors import CommandError, GitOpsError, ProgramMissingError

#: Supported build tools, in order of preference.
TOOLS: Final = ("docker", "podman", "buildah")
#: The variable that names a file of trusted CA certificates, if it is not the system's file.
_CERTIFICATES: Final = "SSL_CERT_FILE"


@dataclass(frozen=True)
class Builder:
    """A program that builds images."""

    tool: str

    def command(
        self, *, context: Path, service: str, tag: str, revision: str, extra: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """The command line that builds one image. ``context`` is the root of the repository."""
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
    """The requested build tool, or the first one that works on this machine.

    Raises:
        ProgramMissingError: no build tool is on PATH.
        GitOpsError: only docker is installed, and its daemon does not run.
    """
    if wanted:
        if shutil.which(wanted) is None:
            raise ProgramMissingError(wanted, purpose="build images")
        return Builder(wanted)
    installed = [tool for tool in TOOLS if shutil.which(tool)]
    if not installed:
        raise ProgramMissingError(*TOOLS, purpose="build images")
    for tool in installed:
        if tool != "docker" or _daemon_runs():
            return Builder(tool)
    raise GitOpsError(
        "docker is installed but its daemon does not answer. Start it, or install podman"
    )


def build(builder: Builder, *, context: Path, service: str, tag: str, revision: str) -> None:
    """Build one image. The output of the build tool goes to stdout and stderr.

    Raises:
        CommandError: the build failed.
    """
    command = builder.command(context=context, service=service, tag=tag, revision=revision)
    if subprocess.run(command, check=False).returncode:
        raise CommandError(" ".join(command), "see above")


def _daemon_runs() -> bool:
    process = subprocess.run(("docker", "info"), capture_output=True, check=False)
    return process.returncode == 0
