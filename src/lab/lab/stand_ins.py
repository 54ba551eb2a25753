"""Images from Debian packages that replace published images where no registry is reachable.

They keep the users, folders, variables and commands of the published images, so that manifests run
unchanged. An image is built again only if its files in ``images/`` change.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import buildah, paths, registry, shell, toolchain
from .progress import step

CONTEXTS = Path(__file__).parent / "images"
DEBIAN = "docker.io/library/debian:trixie-slim"
_SUITES = ("trixie", "trixie-updates")
UV_VERSION = "0.13.9"

Files = Callable[[Path], None]


@dataclass(frozen=True)
class StandIn:
    """An image: its folder in ``images/``, the repository that it replaces, and its files."""

    name: str
    repository: str
    tag: str
    #: Copies into the build's folder what is not in the repository.
    files: Files = field(default=lambda folder: None)
    #: What the files are made of, so that a new version makes a new image.
    version: str = ""

    @property
    def image(self) -> str:
        """Its name in the builder's storage."""
        return f"{self.repository}:{self.tag}"

    def key(self) -> str:
        """Changes whenever the image would."""
        digest = hashlib.sha256(f"{self.repository} {self.tag} {self.version}".encode())
        for file in sorted((CONTEXTS / self.name).iterdir()):
            digest.update(file.name.encode() + file.read_bytes())
        return digest.hexdigest()


def _copy(*files: str | Path) -> Files:
    def into(folder: Path) -> None:
        for file in files:
            shutil.copy(file, folder)

    return into


def _uv(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as download:
        shell.run(
            *(sys.executable, "-m", "venv", f"{download}/venv"),
        )
        shell.run(
            *(f"{download}/venv/bin/pip", "download", "--quiet", "--no-deps", "--dest", download),
            *("--platform=musllinux_1_1_x86_64", "--only-binary=:all:", f"uv=={UV_VERSION}"),
        )
        wheel = next(Path(download).glob("uv-*.whl"))
        shutil.unpack_archive(wheel, download, "zip")
        scripts = next(Path(download).glob("uv-*.data/scripts"))
        for name in ("uv", "uvx"):
            shutil.copy(scripts / name, folder)
            (folder / name).chmod(0o755)


def _argocd(folder: Path) -> None:
    module = toolchain.source("argocd", "github.com/argoproj/argo-cd/v3")
    _copy(
        toolchain.binary("argocd"),
        toolchain.binary("kustomize"),
        module / "hack/gpg-wrapper.sh",
        module / "hack/git-verify-wrapper.sh",
        module / "entrypoint.sh",
    )(folder)


PAUSE = StandIn("pause", "registry.k8s.io/pause", "3.10", _copy("/usr/bin/catatonit"))
STAND_INS = (
    PAUSE,
    StandIn("uv", "ghcr.io/astral-sh/uv", UV_VERSION, _uv),
    StandIn("python", "docker.io/library/python", "3.13-slim"),
    StandIn("postgres", "docker.io/library/postgres", "17"),
    StandIn("rabbitmq", "docker.io/library/rabbitmq", "4-management"),
    StandIn("redis", "docker.io/library/redis", "8"),
    StandIn("postgres-exporter", "quay.io/prometheuscommunity/postgres-exporter", "v0"),
    StandIn("redis-exporter", "docker.io/oliver006/redis_exporter", "v1"),
    StandIn(
        "argocd",
        "quay.io/argoproj/argocd",
        f"v{toolchain.ARGO_CD}",
        _argocd,
        f"{toolchain.ARGO_CD} {toolchain.KUSTOMIZE}",
    ),
    StandIn(
        "argo-rollouts",
        "quay.io/argoproj/argo-rollouts",
        f"v{toolchain.ARGO_ROLLOUTS}",
        _copy(toolchain.binary("argo-rollouts")),
        toolchain.ARGO_ROLLOUTS,
    ),
    StandIn("prometheus", "quay.io/prometheus/prometheus", "v2"),
    *(
        StandIn(
            name,
            f"quay.io/prometheus-operator/{name}",
            f"v{toolchain.PROMETHEUS_OPERATOR}",
            _copy(toolchain.binary(name)),
            toolchain.PROMETHEUS_OPERATOR,
        )
        for name in ("prometheus-operator", "prometheus-config-reloader")
    ),
)


def build(stand_ins: tuple[StandIn, ...] = STAND_INS) -> None:
    """Build what is missing or out of date; everything else stands on the Debian base."""
    if not buildah.exists(DEBIAN):
        with step(f"making {DEBIAN} from Debian's packages"):
            _debian()
    for stand_in in stand_ins:
        stamp = paths.cache() / "images" / f"{stand_in.name}.key"
        if (
            stamp.exists()
            and stamp.read_text() == stand_in.key()
            and buildah.exists(stand_in.image)
        ):
            continue
        with step(f"building the stand-in for {stand_in.image}"):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / "context"
                shutil.copytree(CONTEXTS / stand_in.name, folder)
                stand_in.files(folder)
                buildah.build(folder, stand_in.image)
            stamp.write_text(stand_in.key())


def provide(stand_in: StandIn, reference: str) -> None:
    """Put an image into the cluster's registry, under the name by which a manifest asks for it."""
    buildah.push(stand_in.image, registry.local(reference))


def named(name: str) -> StandIn:
    """The stand-in of a folder in ``images/``."""
    return next(item for item in STAND_INS if item.name == name)


def find(reference: str) -> StandIn | None:
    """The stand-in for an image as a manifest names it, whatever its registry, tag and digest."""
    requested = _path(reference)
    for stand_in in STAND_INS:
        ours = _path(stand_in.image)
        # Mirrors put folders in front: public.ecr.aws/docker/library/redis.
        if requested == ours or requested.endswith(f"/{ours}"):
            return stand_in
    return None


def _path(reference: str) -> str:
    return registry.local(reference).removeprefix(f"{registry.ADDRESS}/").rpartition(":")[0]


def _debian() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        folder = Path(temporary)
        shell.run(
            *("nice", "mmdebstrap", "--variant=minbase", "--include=ca-certificates", "trixie"),
            folder / "root.tar",
            *(f"deb {mirror} {suite} main" for mirror, suite in _sources()),
        )
        (folder / "Dockerfile").write_text(
            "FROM scratch\nADD root.tar /\n"
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
            'CMD ["bash"]\n'
        )
        buildah.build(folder, DEBIAN)


def _sources() -> list[tuple[str, str]]:
    """The mirrors that apt uses on this machine; they carry the release of the images too."""
    mirrors = []
    for file in Path("/etc/apt/sources.list.d").glob("*.sources"):
        for line in file.read_text().splitlines():
            if line.startswith("URIs:"):
                mirrors.append(line.split()[1])
    main = next((url for url in mirrors if url.endswith("/debian")), "http://deb.debian.org/debian")
    security = next(
        (url for url in mirrors if "security" in url), "http://deb.debian.org/debian-security"
    )
    return [*((main, suite) for suite in _SUITES), (security, "trixie-security")]
