"""Which images to rebuild and which checks to run for a set of changed files. Pure.

Tests and documents are not part of an image, so they rebuild nothing. Files that every image
contains rebuild all four images.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from gitops.layout import SERVICES, SUITES

#: Files that are part of every image. ``*`` also matches slashes.
SHARED: Final = (
    ".dockerignore",
    "pyproject.toml",
    "uv.lock",
    "src/Dockerfile",
    "src/npm_build_hook.py",
    "src/rootfs.sh",
    "src/auditflow/*",
)
#: By service: other folders that its image contains. The Job that creates Secrets runs this image.
#: The dashboard shows the runbooks of rules.
ALSO_IN_IMAGE: Final = {
    "notification-service": ("src/provisioning/*",),
    "event-audit-dashboard": ("docs/runbooks/rules/*",),
}
#: Files below ``src`` that are never part of an image.
NEVER_BUILT: Final = (
    "src/devtools/*",
    "src/lab/*",
    "src/tests/*",
    "src/*/tests/*",
    "src/*/README.md",
)


def services(paths: Iterable[str]) -> tuple[str, ...]:
    """The services to rebuild when these files changed, in the order of ``layout.SERVICES``."""
    built = [path for path in paths if not _matches(path, NEVER_BUILT)]
    if any(_matches(path, SHARED) for path in built):
        return SERVICES
    return tuple(
        service
        for service in SERVICES
        if _any(built, (f"src/{service}/*", *ALSO_IN_IMAGE.get(service, ())))
    )


#: Files that every test suite depends on.
_EVERYTHING: Final = (
    "Makefile",
    "pyproject.toml",
    "uv.lock",
    "src/auditflow/*",
    "src/npm_build_hook.py",
    "src/provisioning/*",
    "src/local/*",
)
#: Files that the platform tests (src/tests) check, in addition to the services.
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
#: Files that the tests of gitops check, in addition to its own package.
_DELIVERY: Final = (".github/*", ".dockerignore", "apps/*", "renovate.json", "src/Dockerfile")
_MANIFESTS: Final = (
    "apps/*",
    "clusters/*",
    "bootstrap/*",
    "monitoring/*",
    "src/auditflow/kustomization.yaml",
    "src/gitops/*",
    "src/provisioning/*",  # apps/secrets contains the program
)
_CLUSTER: Final = (
    "src/provisioning/*",
    ".github/k3d.yaml",
    "apps/*",
    "bootstrap/*",
    "clusters/*",
    "src/Dockerfile",
    "src/rootfs.sh",
    "src/lab/*",
    "src/tests/e2e/*",
)
#: Files of `make images` and of the image tests, in addition to the contents of images.
_IMAGES: Final = ("Makefile", "src/gitops/gitops/images.py", "src/tests/images/*")
_CHARTS: Final = (
    "clusters/*",
    "monitoring/values/*",
    "src/gitops/gitops/*chart*",
    "src/gitops/gitops/helm.py",
)
_INFRA: Final = ("infra/*", "src/tests/infra/*")


@dataclass(frozen=True)
class Touched:
    """The test suites and checks that CI must run. A suite is a folder of ``src`` with tests."""

    suites: tuple[str, ...]
    images: bool
    manifests: bool
    cluster: bool
    infra: bool
    charts: bool = False


def touched(paths: Iterable[str]) -> Touched:
    """The test suites and other checks whose result can change because of these files."""
    files = tuple(paths)
    return Touched(
        suites=tuple(suite for suite in SUITES if _any(files, _watched(suite))),
        images=bool(services(files)) or _any(files, _IMAGES),
        manifests=_any(files, _MANIFESTS),
        cluster=_any(files, _CLUSTER),
        infra=_any(files, _INFRA),
        charts=_any(files, _CHARTS),
    )


def _watched(suite: str) -> tuple[str, ...]:
    if suite == "gitops":
        # gitops imports nothing from the platform.
        return ("src/gitops/*", "Makefile", "pyproject.toml", "uv.lock", *_DELIVERY)
    if suite == "tests":
        return (*_EVERYTHING, *_PLATFORM, *(f"src/{service}/*" for service in SERVICES))
    return (*_EVERYTHING, f"src/{suite}/*")


def _any(files: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(_matches(file, patterns) for file in files)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
