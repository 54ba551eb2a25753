"""A registry of empty images on this machine."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from auditflow_local import ports
from auditflow_local.polling import eventually

#: Debian's packages buildah and docker-registry.
PROGRAMS = ("buildah", "docker-registry")


def is_available() -> bool:
    """Whether the programs of a registry are installed."""
    return all(shutil.which(name) for name in PROGRAMS)


@dataclass
class Registry:
    """A running registry. ``folder`` contains its data and the keys of cosign."""

    address: str
    folder: Path

    def image(self, service: str) -> str:
        """The repository of a service's image."""
        return f"{self.address}/jojees/auditflow-{service}"

    def push(self, name: str, tag: str = "x") -> str:
        """Push an image that contains only a label. Returns its reference by digest."""
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
            env={**os.environ, **_separate_storage(self.folder), "COSIGN_PASSWORD": ""},
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
    """Run a registry on a free port."""
    address = f"127.0.0.1:{ports.pick()}"
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
            eventually(lambda: server.poll() is not None or _answers(address), what="the registry")
            assert server.poll() is None, "the registry ended"
            yield Registry(address, folder)
        finally:
            server.terminate()


def _separate_storage(folder: Path) -> dict[str, str]:
    """Give buildah separate storage: with shared storage, parallel tests delete each other's layers."""
    file = folder / "storage.conf"
    paths = f'graphroot = "{folder / "storage"}"\nrunroot = "{folder / "running"}"\n'
    file.write_text(f'[storage]\ndriver = "vfs"\n{paths}')
    return {"CONTAINERS_STORAGE_CONF": str(file)}


def _answers(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) == 0
