"""What a change means: which images would become others, and which checks could fail by it. Pure.

Tests and documents are in no image, so they mean none. What all images are made of means all four.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from gitops.layout import SERVICES, SUITES

#: A change of any of these changes every image. ``*`` also crosses folders.
SHARED: Final = (
    ".dockerignore",
    "pyproject.toml",
    "uv.lock",
    "src/Dockerfile",
    "src/rootfs.sh",
    "src/auditflow/*",
)
#: By service: other folders that its image contains. The Job that creates Secrets runs this image.
ALSO_IN_IMAGE: Final = {"notification-service": ("src/provisioning/*",)}
#: In no image, wherever it is below ``src``.
NEVER_BUILT: Final = ("src/tests/*", "src/lab/*", "src/*/tests/*", "src/*/README.md")


def services(paths: Iterable[str]) -> tuple[str, ...]:
    """The services to build anew when these files changed, in the order of the layout."""
    built = [path for path in paths if not _matches(path, NEVER_BUILT)]
    if any(_matches(path, SHARED) for path in built):
        return SERVICES
    return tuple(
        service
        for service in SERVICES
        if _any(built, (f"src/{service}/*", *ALSO_IN_IMAGE.get(service, ())))
    )


#: What every test depends on.
_EVERYTHING: Final = (
    "Makefile",
    "pyproject.toml",
    "uv.lock",
    "src/auditflow/*",
    "src/provisioning/*",
    "src/local/*",
)
#: What the tests that cross services are about, beside the services.
_PLATFORM: Final = (
    "apps/*",
    "bootstrap/*",
    "clusters/*",
    "docs/*",
    "infra/*",
    "monitoring/*",
    "*.md",
    "src/lab/*",
    "src/tests/*",
)
#: What the tests of the way of a change are about, beside its program.
_DELIVERY: Final = (".github/*", ".dockerignore", "apps/*", "renovate.json", "src/Dockerfile")
_MANIFESTS: Final = ("apps/*", "clusters/*", "bootstrap/*", "monitoring/*", "src/gitops/*")
_CLUSTER: Final = (
    ".github/k3d.yaml",
    "apps/*",
    "bootstrap/*",
    "clusters/*",
    "src/Dockerfile",
    "src/rootfs.sh",
    "src/lab/*",
    "src/tests/e2e/*",
)
#: What `make images` and the tests of images are, beside what images are made of.
_IMAGES: Final = ("Makefile", "src/gitops/gitops/images.py", "src/tests/images/*")
_INFRA: Final = ("infra/*", "src/tests/infra/*")


@dataclass(frozen=True)
class Touched:
    """What CI has to look at."""

    suites: tuple[str, ...]
    images: bool
    manifests: bool
    cluster: bool
    infra: bool


def touched(paths: Iterable[str]) -> Touched:
    """The suites of tests, and the other checks, whose result could be another by these files."""
    files = tuple(paths)
    return Touched(
        suites=tuple(suite for suite in SUITES if _any(files, _watched(suite))),
        images=bool(services(files)) or _any(files, _IMAGES),
        manifests=_any(files, _MANIFESTS),
        cluster=_any(files, _CLUSTER),
        infra=_any(files, _INFRA),
    )


def _watched(suite: str) -> tuple[str, ...]:
    if suite == "gitops":
        # Its program uses nothing of the platform.
        return ("src/gitops/*", "Makefile", "pyproject.toml", "uv.lock", *_DELIVERY)
    if suite == "tests":
        return (*_EVERYTHING, *_PLATFORM, *(f"src/{service}/*" for service in SERVICES))
    return (*_EVERYTHING, f"src/{suite}/*")


def _any(files: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(_matches(file, patterns) for file in files)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
