"""A registry of images on this machine, with images that have nothing in them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

#: Debian's packages buildah and docker-registry.
PROGRAMS = ("buildah", "docker-registry")


def possible() -> bool:
    """Whether this machine can have one."""
    return all(shutil.which(one) for one in PROGRAMS)


@dataclass
class Registry:
    """A registry on this machine, with an image that is signed and one that is not."""

    address: str
    folder: Path

    def image(self, service: str) -> str:
        """The repository of a service's image."""
        return f"{self.address}/jojees/auditflow-{service}"

    def push(self, name: str, tag: str = "x") -> str:
        """An image with nothing in it but its name and tag; its reference by digest."""
        image = f"{self.image(name)}:{tag}"
        container = self.run("buildah", "from", "scratch")
        try:
            self.run("buildah", "config", "--label", f"name={name}-{tag}", container)
            self.run("buildah", "commit", "--quiet", container, image)
        finally:
            self.run("buildah", "rm", container)
        digest = self.folder / "digest"
        self.run("buildah", "push", "--tls-verify=false", f"--digestfile={digest}", image)
        self.run("buildah", "rmi", image)
        return f"{image}@{digest.read_text()}"

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **_own_storage(self.folder), "COSIGN_PASSWORD": ""},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def has(self, reference: str) -> bool:
        """Whether an image can be pulled by its digest."""
        name, _, digest = reference.partition("@")
        path = name.removeprefix(f"{self.address}/").rpartition(":")[0]
        kinds = "application/vnd.oci.image.manifest.v1+json"
        found = httpx.get(
            f"http://{self.address}/v2/{path}/manifests/{digest}", headers={"Accept": kinds}
        )
        return found.status_code == 200


@contextmanager
def serve(folder: Path) -> Iterator[Registry]:
    """A registry on a free port, ended at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": address},
    }
    (folder / "registry.yaml").write_text(yaml.safe_dump(settings))
    command = ("docker-registry", "serve", str(folder / "registry.yaml"))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 20
            while not _answers(address):
                assert server.poll() is None, "the registry ended"
                assert time.monotonic() < deadline, "the registry does not answer"
                time.sleep(0.05)
            yield Registry(address, folder)
        finally:
            server.terminate()


def _own_storage(folder: Path) -> dict[str, str]:
    """Of buildah: in one that all have, a test takes layers away that another is about to use."""
    file = folder / "storage.conf"
    places = f'graphroot = "{folder / "storage"}"\nrunroot = "{folder / "running"}"\n'
    file.write_text(f'[storage]\ndriver = "vfs"\n{places}')
    return {"CONTAINERS_STORAGE_CONF": str(file)}


def _answers(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as one:
        return one.connect_ex((host, int(port))) == 0
