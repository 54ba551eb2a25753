"""docker or podman for the tests of images: containers without any permission."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: A user that no image knows.
ANY_USER = "54321:54321"
#: Where the manifests mount a service's secrets.
SECRETS = "/run/secrets/auditflow"

#: podman asks for as much as there could be, which it may not where it is in a container itself.
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
#: What the pods have, and the network of this machine, where the servers of the tests are.
_LOCKED = (
    *("--network=host", f"--user={ANY_USER}", "--read-only", "--tmpfs=/tmp"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges", *_LIMITS),
)


class ContainerError(Exception):
    """The output of the engine, or of the program in the container, when it failed."""


@dataclass(frozen=True)
class Engine:
    """The program that runs containers."""

    tool: str

    def works(self) -> bool:
        """Whether it answers; docker needs a daemon."""
        return _run((self.tool, "info")).returncode == 0

    def has(self, image: str) -> bool:
        """Whether the image is here."""
        return _run((self.tool, "image", "inspect", image)).returncode == 0

    def config(self, image: str) -> dict[str, Any]:
        """The configuration of the image: User, Env, Entrypoint, Labels."""
        output = self._do("image", "inspect", "--format={{json .Config}}", image)
        config: dict[str, Any] = json.loads(output)
        return config

    @contextmanager
    def files(self, image: str) -> Iterator[tarfile.TarFile]:
        """All that a container of this image would find, with no process started."""
        container = self._do("create", *_LIMITS, image)
        exporting = subprocess.Popen((self.tool, "export", container), stdout=subprocess.PIPE)
        try:
            with exporting, tarfile.open(fileobj=exporting.stdout, mode="r|") as archive:
                yield archive
        finally:
            self._do("rm", container)

    def run(
        self,
        image: str,
        *words: str,
        env: Mapping[str, str] | None = None,
        mount: Path | None = None,
    ) -> str:
        """Run a program of the image to its end and return what it prints."""
        return self._do("run", "--rm", *self._options(env, mount), *_program(image, words))

    def start(
        self,
        image: str,
        *words: str,
        env: Mapping[str, str] | None = None,
        mount: Path | None = None,
    ) -> str:
        """Start a container, with the image's own program unless words are given; its id."""
        return self._do("run", "--detach", *self._options(env, mount), *_program(image, words))

    def stop(self, container: str) -> int:
        """SIGTERM, and SIGKILL after ten seconds; the exit code, 137 if it took the latter."""
        self._do("stop", "--time=10", container)
        return int(self._do("inspect", "--format={{.State.ExitCode}}", container))

    def remove(self, container: str) -> None:
        self._do("rm", "--force", container)

    def log(self, container: str) -> str:
        """The output of the container until now."""
        done = _run((self.tool, "logs", container))
        return done.stdout + done.stderr

    def _options(self, env: Mapping[str, str] | None, mount: Path | None) -> Iterator[str]:
        yield from _LOCKED
        for name, value in (env or {}).items():
            yield f"--env={name}={value}"
        if mount:
            yield f"--volume={mount}:{SECRETS}:ro"

    def _do(self, *words: str) -> str:
        done = _run((self.tool, *words))
        if done.returncode:
            output = (done.stdout + done.stderr)[-3000:]
            raise ContainerError(f"{self.tool} {' '.join(words)}: {done.returncode}\n{output}")
        return done.stdout.strip()


def find() -> Engine | None:
    """The engine that runs on this machine, if one does."""
    for tool in ("docker", "podman"):
        if shutil.which(tool) and Engine(tool).works():
            return Engine(tool)
    return None


def _program(image: str, words: Sequence[str]) -> tuple[str, ...]:
    return (f"--entrypoint={words[0]}", image, *words[1:]) if words else (image,)


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
