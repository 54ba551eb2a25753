"""An image registry on the loopback of the cluster's network.

containerd uses it instead of all other registries, so that manifests keep their image names:
``docker.io/library/postgres:17`` is ``127.0.0.1:5000/library/postgres:17``.
"""

from __future__ import annotations

import httpx
import yaml

from . import paths
from .paths import Run
from .processes import Processes
from .waiting import until

ADDRESS = "127.0.0.1:5000"


def mirror_of_everything() -> str:
    """A hosts.toml for containerd. Because of ``server``, it uses no public registry."""
    return (
        f'server = "http://{ADDRESS}"\n'
        f'[host."http://{ADDRESS}"]\n  capabilities = ["pull", "resolve"]\n'
    )


def start(run: Run, processes: Processes) -> None:
    """Start the registry. Its blobs are kept after the run."""
    config = run.root / "registry.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "version": 0.1,
                "log": {"level": "warn"},
                "storage": {"filesystem": {"rootdirectory": str(paths.cache() / "registry")}},
                "http": {"addr": ADDRESS},
            }
        )
    )
    processes.start("registry", "/usr/bin/docker-registry", "serve", config)
    until(_answers, "the registry answers", seconds=20, check=processes.check)


def local(reference: str, address: str = ADDRESS) -> str:
    """Return the local address of a public image: ``127.0.0.1:5000/library/redis:8``."""
    name = reference.split("@", 1)[0]
    host, slash, rest = name.partition("/")
    if not slash:
        name = f"library/{name}"
    elif "." in host or ":" in host or host == "localhost":
        name = rest
    tagged = ":" in name.rpartition("/")[2]
    return f"{address}/{name}" if tagged else f"{address}/{name}:latest"


def digest(reference: str, address: str = ADDRESS) -> str | None:
    """The digest of an image as a registry has it, or None if the registry does not have it.

    A digest in the reference selects the image; otherwise its tag does.
    """
    name, _, pinned = reference.partition("@")
    repository, _, tag = local(name, address).removeprefix(f"{address}/").rpartition(":")
    # Lists are accepted too: docker pushes a list if it attests its builds.
    types = (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
    answer = httpx.head(
        f"http://{address}/v2/{repository}/manifests/{pinned or tag}",
        headers={"Accept": ", ".join(types)},
    )
    return answer.headers["docker-content-digest"] if answer.is_success else None


def _answers() -> bool:
    try:
        return httpx.get(f"http://{ADDRESS}/v2/").is_success
    except httpx.TransportError:
        return False
