"""Create the branch that returns an environment, or a service of it, to an earlier state.

The image, the configuration (the overlay) and the base (the snapshot) of a service are in one
folder, so a rollback restores the files of this folder from an earlier commit.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from gitops import layout, migrations, pins, snapshot
from gitops.errors import GitOpsError, LostRaceError, RacesLostError, UnknownRevisionError
from gitops.git import Identity, Repository
from gitops.promotion import Move

_ATTEMPTS: Final = 5


class NothingToRevertError(GitOpsError):
    """There is no change that can be reverted. The text gives the reason."""


class IncompatibleMigrationError(GitOpsError):
    """The older version may fail on the newer schema of the database."""

    def __init__(self, reasons: Sequence[str]) -> None:
        lines = "\n".join(f"    {reason}" for reason in reasons)
        super().__init__(
            "the older version of the notification service may fail on the current schema:\n"
            f"{lines}\nDeploy a fixed version instead. If you checked that the older version works,"
            " use --accept-migration"
        )
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class Plan:
    """The files to restore (None: to delete), and what they change."""

    #: The commit whose change is reverted, the oldest if there are several.
    reverted: str
    files: dict[str, bytes | None]
    moves: tuple[Move, ...]

    @property
    def configuration(self) -> tuple[str, ...]:
        """The folders of apps whose overlay or base changes."""
        folders = (
            path.removeprefix("apps/").partition("/envs/")[0]
            for path in self.files
            if not path.endswith("/release/kustomization.yaml")
        )
        return tuple(dict.fromkeys(sorted(folders)))


@dataclass(frozen=True)
class Rollback:
    """A rollback. ``reverted`` is the commit whose change is reverted."""

    environment: str
    branch: str
    base: str
    commit: str
    reverted: str
    subject: str
    moves: tuple[Move, ...]
    configuration: tuple[str, ...] = ()
    #: The result of the check of the migrations. None: the schema is not concerned.
    migration: str | None = None


def plan(
    repository: Repository,
    *,
    environment: str,
    base: str,
    service: str | None = None,
    to: int = 1,
    revert: str | None = None,
) -> Plan:
    """The files to restore on ``base``.

    Args:
        service: roll back only this service, and the apps that run its image.
        to: the number of changes to go back. 1 is the state before the last change.
        revert: revert only this commit instead, and keep later changes of other files.

    Raises:
        NothingToRevertError: there is no such change, or it cannot be reverted.
    """
    folders = tuple(dict.fromkeys(_folders(repository, base, environment, service)))
    scope = f"{service} in {environment}" if service else environment
    reverted = (
        repository.resolve(revert) if revert else _change(repository, base, folders, to, scope)
    )
    parents = repository.parents(reverted)
    if not parents:
        raise NothingToRevertError(f"no commit has changed {scope}")
    before, current = parents[0], base
    if revert:
        # The change of a merge commit is the difference from its first parent.
        paths = [path for path in repository.changed_by(reverted) if _is_below(path, folders)]
        if not paths:
            raise NothingToRevertError(f"{reverted[:12]} did not change {scope}")
        if later := [
            path
            for path in paths
            if repository.read(current, path) != repository.read(reverted, path)
        ]:
            raise NothingToRevertError(
                f"{', '.join(later[:5])}: a later commit changed this after {reverted[:12]}. Revert"
                " the later change first, or revert by hand"
            )
    else:
        paths = sorted({*repository.files(before, *folders), *repository.files(current, *folders)})
    files = {
        path: repository.read(before, path)
        for path in paths
        if repository.read(before, path) != repository.read(current, path)
    }
    if not files:
        raise NothingToRevertError(f"{scope} is already in the state before {reverted[:12]}")
    return Plan(reverted, files, _moves(repository, files, before, current, environment))


def rollback(
    repository: Repository,
    *,
    environment: str,
    main: str,
    identity: Identity,
    service: str | None = None,
    to: int = 1,
    revert: str | None = None,
    accept_migration: bool = False,
) -> Rollback:
    """Create or replace the rollback branch of an environment.

    ``to`` is the number of changes to go back, see ``plan``.

    Raises:
        NothingToRevertError: there is no change that can be reverted.
        IncompatibleMigrationError: the older version may fail on the current schema.
    """
    branch = layout.rollback_branch(environment)
    for _ in range(_ATTEMPTS):
        base = repository.fetch(main)
        if base is None:
            raise GitOpsError(f"{repository.remote} has no branch {main}")
        planned = plan(
            repository, environment=environment, base=base, service=service, to=to, revert=revert
        )
        migration = _check_migration(repository, planned.moves, accept=accept_migration)
        subject = repository.subject(planned.reverted)
        commit = repository.commit(
            base,
            planned.files,
            message=_message(environment, subject, planned),
            identity=identity,
        )
        try:
            repository.replace(commit, branch, expected=repository.fetch(branch))
        except LostRaceError:
            continue
        return Rollback(
            environment,
            branch,
            base,
            commit,
            planned.reverted,
            subject,
            planned.moves,
            planned.configuration,
            migration,
        )
    raise RacesLostError(branch, _ATTEMPTS)


def title(reverted: Rollback) -> str:
    """The title of the pull request."""
    names = ", ".join(move.service for move in reverted.moves)
    if not names:
        names = f"the configuration of {', '.join(reverted.configuration)}"
    return f"Roll back {names} in {reverted.environment}"


def _folders(
    repository: Repository, base: str, environment: str, service: str | None
) -> Iterator[str]:
    """The overlays to roll back. An app that runs the image of the service belongs to it."""
    if service is None:
        for path in repository.files(base, "apps"):
            app = layout.app_of(path, environment)
            if app and path.startswith(f"{layout.overlay(app, environment)}/"):
                yield layout.overlay(app, environment)
        return
    yield layout.overlay(service, environment)
    release = posixpath.dirname(layout.release(service, environment))
    for app in snapshot.apps(repository.files(base, "apps"), environment):
        folder = layout.overlay(app, environment)
        content = repository.read(base, f"{folder}/kustomization.yaml")
        used = snapshot.references(yaml.safe_load(content or b"") or {})
        if app != service and release in (
            posixpath.normpath(posixpath.join(folder, reference)) for reference in used
        ):
            yield folder


def _change(
    repository: Repository, base: str, folders: tuple[str, ...], to: int, scope: str
) -> str:
    # With first_parent, a merged promotion is one change: its merge commit.
    found = repository.log(None, base, *folders, limit=to, first_parent=True)
    if not found:
        raise NothingToRevertError(f"no commit has changed {scope}")
    if len(found) < to:
        raise NothingToRevertError(f"only {len(found)} commits have changed {scope}, not {to}")
    return found[-1].commit


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _moves(
    repository: Repository,
    files: Mapping[str, bytes | None],
    before: str,
    current: str,
    environment: str,
) -> tuple[Move, ...]:
    changed = [name for name in layout.SERVICES if layout.release(name, environment) in files]
    if added := [name for name in changed if files[layout.release(name, environment)] is None]:
        raise NothingToRevertError(
            f"{', '.join(added)}: the change added this to {environment}; there is no earlier state"
        )
    moves = tuple(
        Move(
            pins.at(repository, current, name, environment),
            pins.at(repository, before, name, environment),
            previously_deployed=True,
        )
        for name in changed
    )
    if unreleased := [move.service for move in moves if not move.after.released]:
        raise NothingToRevertError(
            f"{', '.join(unreleased)}: the change was the first release in {environment};"
            " there is no earlier version"
        )
    return moves


def _check_migration(repository: Repository, moves: Sequence[Move], *, accept: bool) -> str | None:
    """Compare the migrations of both versions. Returns a sentence for the pull request."""
    for move in moves:
        if move.service != migrations.SERVICE:
            continue
        try:
            newer = repository.resolve(move.before.tag)
            older = repository.resolve(move.after.tag)
        except UnknownRevisionError as error:
            reasons: tuple[str, ...] = (f"not checked: {error}",)
        else:
            added = {
                posixpath.basename(path): repository.read(newer, path) or b""
                for path in repository.files(newer, migrations.FOLDER)
                if repository.read(older, path) is None
            }
            reasons = migrations.incompatible(added)
            if not reasons:
                names = ", ".join(sorted(added)) or "none"
                return f"The schema stays. Migrations that only the newer version has: {names}."
        if not accept:
            raise IncompatibleMigrationError(reasons)
        return f"A person accepted these migrations: {'; '.join(reasons)}."
    return None


def _message(environment: str, subject: str, planned: Plan) -> str:
    lines = [f"{move.service}: {move.after.tag} {move.after.digest}" for move in planned.moves]
    lines += [f"{app}: configuration" for app in planned.configuration]
    text = "\n".join(lines)
    return (
        f'Revert "{subject}"\n\nThis returns {environment} to the state before'
        f" {planned.reverted}.\n\n{text}\n"
    )
