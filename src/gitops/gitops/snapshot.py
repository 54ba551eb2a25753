"""Copies of the bases that staging and prod use, so that a change of a base reaches dev only.

dev renders ``apps/<app>/base`` and ``apps/components``. Each later environment renders its own copy
in ``apps/<app>/envs/<env>/snapshot``, which has the same relative paths. A promotion copies the
files of the environment before it. Pure: files are read by a function.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

from gitops import layout
from gitops.errors import SnapshotError

#: Reads a file of the repository. None: it does not exist.
Reader = Callable[[str], bytes | None]

#: The file of a snapshot that states the commit from which it was copied.
REVISION: Final = "revision"
_KUSTOMIZATION: Final = "kustomization.yaml"
#: The keys of a kustomization whose entries are paths.
_PATHS: Final = (
    "resources", "components", "bases", "patchesStrategicMerge", "configurations", "generators",
    "transformers", "validators", "crds",
)  # fmt: skip
#: The keys whose entries are objects with a "path".
_OBJECTS_WITH_PATH: Final = ("patches", "patchesJson6902", "replacements")
_GENERATORS: Final = ("configMapGenerator", "secretGenerator")


def references(kustomization: Mapping[str, Any]) -> Iterator[str]:
    """The local paths that a kustomization names, relative to its folder."""
    for key in _PATHS:
        yield from (entry for entry in kustomization.get(key) or () if _is_path(entry))
    for key in _OBJECTS_WITH_PATH:
        entries = kustomization.get(key) or ()
        yield from (entry["path"] for entry in entries if "path" in entry)
    for key in _GENERATORS:
        for generator in kustomization.get(key) or ():
            # A file can have another key: "key=path".
            yield from (entry.split("=", 1)[-1] for entry in generator.get("files") or ())
            yield from generator.get("envs") or ()
    if path := (kustomization.get("openapi") or {}).get("path"):
        yield path


def inputs(read: Reader, folders: Iterable[str]) -> dict[str, bytes]:
    """Every file that Kustomize reads to render these folders.

    Raises:
        SnapshotError: a file is missing, or is outside of the repository.
    """
    found: dict[str, bytes] = {}
    waiting = list(folders)
    while waiting:
        folder = waiting.pop()
        file = f"{folder}/{_KUSTOMIZATION}"
        if file in found:
            continue
        found[file] = content = _require(read, file)
        for reference in references(_parse(content, file)):
            path = posixpath.normpath(posixpath.join(folder, reference))
            if path.startswith(("..", "/")):
                raise SnapshotError(file, f"names {reference}, which is outside of the repository")
            if read(f"{path}/{_KUSTOMIZATION}") is not None:
                waiting.append(path)
            else:
                found[path] = _require(read, path)
    return found


def roots(read: Reader, app: str, environment: str) -> tuple[str, ...]:
    """The folders of the repository that a snapshot copies.

    These are the folders that the overlay of the environment uses, and the overlays of later
    environments: prod can use a component that staging does not use, and gets it from staging.
    """
    found: dict[str, None] = {}
    for user in layout.later(environment):
        folder = layout.overlay(app, user)
        file = f"{folder}/{_KUSTOMIZATION}"
        content = read(file)
        if content is None:
            continue
        for reference in references(_parse(content, file)):
            path = posixpath.normpath(reference)
            if path.startswith("snapshot/"):
                found[path.removeprefix("snapshot/")] = None
    return tuple(found)


def files(source: Reader, overlays: Reader, *, app: str, environment: str) -> dict[str, bytes]:
    """The files of a snapshot, by their path in the repository, without the revision.

    Args:
        source: reads the bases and components, by their path in the repository.
        overlays: reads the overlays of the environments.

    Raises:
        SnapshotError: an overlay names a folder that the source does not have.
    """
    top = layout.snapshot(app, environment)
    copied = inputs(source, roots(overlays, app, environment))
    return {f"{top}/{path}": content for path, content in copied.items()}


def source_of(read: Reader, *, app: str, environment: str) -> Reader:
    """Reads the bases and components that an environment uses: dev the originals, others a copy."""
    if environment == layout.ENVIRONMENTS[0]:
        return read
    top = layout.snapshot(app, environment)
    return lambda path: read(f"{top}/{path}")


def apps(paths: Iterable[str], environment: str) -> tuple[str, ...]:
    """The apps that have an overlay of the environment, from the files of the repository."""
    suffix = f"/envs/{environment}/{_KUSTOMIZATION}"
    return tuple(
        sorted(
            path.removeprefix("apps/").removesuffix(suffix)
            for path in paths
            if path.startswith("apps/") and path.endswith(suffix)
        )
    )


def _is_path(entry: object) -> bool:
    return isinstance(entry, str) and "://" not in entry and "\n" not in entry


def _require(read: Reader, path: str) -> bytes:
    content = read(path)
    if content is None:
        raise SnapshotError(path, "does not exist in the environment from which it is copied")
    return content


def _parse(content: bytes, path: str) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SnapshotError(path, f"is not YAML ({error})") from None
    if not isinstance(document, dict):
        raise SnapshotError(path, "is not a kustomization")
    return document
