"""The change of an environment's snapshots that a promotion makes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from gitops import layout, snapshot
from gitops.errors import DowngradeError, UnknownRevisionError
from gitops.git import Repository


@dataclass(frozen=True)
class Configuration:
    """The files to write (None: to delete) and the apps whose snapshot changes."""

    apps: tuple[str, ...] = ()
    files: Mapping[str, bytes | None] = field(default_factory=dict)


def plan(repository: Repository, *, source: str, target: str, base: str, at: str) -> Configuration:
    """The files to change in ``target`` so that it has the bases that ``source`` has.

    ``base`` is the commit from which the target is read, ``at`` the commit that the source runs.

    Raises:
        DowngradeError: the target has a newer base; names the apps.
        SnapshotError: an overlay of the target uses a folder that the source does not have.
    """
    read_base = cache(lambda path: repository.read(base, path))
    read_source = cache(lambda path: repository.read(at, path))
    listed = repository.files(base, "apps")
    changed: dict[str, bytes | None] = {}
    changed_apps, older = [], []
    for app in snapshot.apps(listed, target):
        if not snapshot.roots(read_base, app, target):
            continue  # this environment uses the bases themselves
        top = layout.snapshot(app, target)
        wanted = snapshot.files(
            snapshot.source_of(read_source, app=app, environment=source),
            read_base,
            app=app,
            environment=target,
        )
        revision = f"{top}/{snapshot.REVISION}"
        current = {
            path: read_base(path)
            for path in listed
            if path.startswith(f"{top}/") and path != revision
        }
        if wanted == current:
            continue
        origin = _revision(read_source, app, source) or at
        if _is_older(repository, origin, _revision(read_base, app, target)):
            older.append(app)
            continue
        changed_apps.append(app)
        changed |= {
            path: content for path, content in wanted.items() if current.get(path) != content
        }
        changed |= dict.fromkeys(current.keys() - wanted.keys())
        changed[revision] = f"{origin}\n".encode()
    if older:
        raise DowngradeError(tuple(older), source, target)
    return Configuration(tuple(changed_apps), changed)


def _revision(read: snapshot.Reader, app: str, environment: str) -> str | None:
    """The commit from which a snapshot was copied. None: dev, or a person made the snapshot."""
    if environment == layout.ENVIRONMENTS[0]:
        return None
    content = read(f"{layout.snapshot(app, environment)}/{snapshot.REVISION}")
    return content.decode(errors="replace").strip() if content else None


def _is_older(repository: Repository, offered: str, current: str | None) -> bool:
    if current is None or offered == current:
        return False
    try:
        return repository.is_ancestor(offered, current)
    except UnknownRevisionError:  # the history was rewritten, so the age is not known
        return False
