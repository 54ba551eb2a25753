"""Create the branch that reverts the last change of an environment's pins."""

from dataclasses import dataclass
from typing import Final

from gitops import layout, pin, pins
from gitops.errors import GitOpsError, LostRaceError, RacesLostError
from gitops.git import Identity, Repository
from gitops.promotion import Move

_ATTEMPTS: Final = 5


class NothingToRevertError(GitOpsError):
    """There is no change that can be reverted. The text gives the reason."""


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


def plan(
    repository: Repository, *, environment: str, base: str, revert: str | None
) -> tuple[str, tuple[Move, ...]]:
    """The commit to revert and the resulting pin changes.

    Without ``revert``, this is the last commit on ``base`` that changed the environment's pins.

    Raises:
        NothingToRevertError: there is no such commit, or a later commit changed the same pins.
    """
    paths = tuple(layout.release(service, environment) for service in layout.SERVICES)
    reverted = repository.resolve(revert) if revert else _last(repository, base, paths)
    if reverted is None or not (parents := repository.parents(reverted)):
        raise NothingToRevertError(f"no commit has changed the pins of {environment}")
    # The change of a merge commit is the difference from its first parent.
    before = pins.of(repository, parents[0], environment)
    after = pins.of(repository, reverted, environment)
    current = pins.of(repository, base, environment)
    changed = [service for service in layout.SERVICES if before[service] != after[service]]
    if not changed:
        raise NothingToRevertError(f"{reverted[:12]} did not change the pins of {environment}")
    if later := [service for service in changed if current[service] != after[service]]:
        raise NothingToRevertError(
            f"{', '.join(later)}: a later commit changed the pins of {environment} after"
            f" {reverted[:12]}. Revert the later change first, or revert by hand"
        )
    if unreleased := [service for service in changed if not before[service].released]:
        raise NothingToRevertError(
            f"{', '.join(unreleased)}: {reverted[:12]} was the first release in {environment};"
            " there is no earlier version"
        )
    return reverted, tuple(
        Move(after[service], before[service], previously_deployed=True) for service in changed
    )


def rollback(
    repository: Repository,
    *,
    environment: str,
    main: str,
    identity: Identity,
    revert: str | None = None,
) -> Rollback:
    """Create or replace the rollback branch of an environment.

    Raises:
        NothingToRevertError: there is no change that can be reverted.
    """
    branch = layout.rollback_branch(environment)
    for _ in range(_ATTEMPTS):
        base = repository.fetch(main)
        if base is None:
            raise GitOpsError(f"{repository.remote} has no branch {main}")
        reverted, moves = plan(repository, environment=environment, base=base, revert=revert)
        subject = repository.subject(reverted)
        commit = repository.commit(
            base,
            {layout.release(move.service, environment): pin.write(move.after) for move in moves},
            message=_message(environment, subject, reverted, moves),
            identity=identity,
        )
        try:
            repository.replace(commit, branch, expected=repository.fetch(branch))
        except LostRaceError:
            continue
        return Rollback(environment, branch, base, commit, reverted, subject, moves)
    raise RacesLostError(branch, _ATTEMPTS)


def title(reverted: Rollback) -> str:
    """The title of the pull request."""
    names = ", ".join(move.service for move in reverted.moves)
    return f"Roll back {names} in {reverted.environment}"


def _last(repository: Repository, base: str, paths: tuple[str, ...]) -> str | None:
    # With first_parent, a merged promotion is one change: its merge commit.
    found = repository.log(None, base, *paths, limit=1, first_parent=True)
    return found[0].commit if found else None


def _message(environment: str, subject: str, reverted: str, moves: tuple[Move, ...]) -> str:
    lines = "\n".join(f"{move.service}: {move.after.tag} {move.after.digest}" for move in moves)
    return (
        f'Revert "{subject}"\n\nThis returns {environment} to the versions that it ran before'
        f" {reverted}.\n\n{lines}\n"
    )
