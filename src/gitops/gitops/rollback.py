"""Take back the last change of what an environment runs, as a branch to be merged."""

from dataclasses import dataclass
from typing import Final

from gitops import layout, pin, pins
from gitops.errors import GitOpsError, LostRaceError, RacesLostError
from gitops.git import Identity, Repository
from gitops.promotion import Move

_ATTEMPTS: Final = 5


class NothingToRevertError(GitOpsError):
    """There is no change that could be taken back; the text says why."""


@dataclass(frozen=True)
class Rollback:
    """A way back. ``reverted`` is the commit that brought what is taken back."""

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
    """The commit to take back, and the pins that change by it.

    Without ``revert`` it is the last one on ``base`` that changed what the environment runs.

    Raises:
        NothingToRevertError: there is none, or a later change stands on it; says what to do.
    """
    paths = tuple(layout.release(service, environment) for service in layout.SERVICES)
    reverted = repository.resolve(revert) if revert else _last(repository, base, paths)
    if reverted is None or not (parents := repository.parents(reverted)):
        raise NothingToRevertError(f"nothing was ever changed in what {environment} runs")
    # A merge changed, for the branch it was merged into, what differs from its first parent.
    before, after = (pins.of(repository, one, environment) for one in (parents[0], reverted))
    now = pins.of(repository, base, environment)
    moved = [service for service in layout.SERVICES if before[service] != after[service]]
    if not moved:
        raise NothingToRevertError(f"{reverted[:12]} changed nothing in what {environment} runs")
    if later := [service for service in moved if now[service] != after[service]]:
        raise NothingToRevertError(
            f"{', '.join(later)}: {environment} runs something else by now than {reverted[:12]}"
            " brought. Take the later change back first, or revert by hand"
        )
    if unreleased := [service for service in moved if not before[service].released]:
        raise NothingToRevertError(
            f"{', '.join(unreleased)}: {reverted[:12]} was the first release in {environment};"
            " there is nothing before it to go back to"
        )
    return reverted, tuple(Move(after[service], before[service], returns=True) for service in moved)


def rollback(
    repository: Repository,
    *,
    environment: str,
    main: str,
    identity: Identity,
    revert: str | None = None,
) -> Rollback:
    """Put the revert of a change on its branch, in the place of an older one.

    Raises:
        NothingToRevertError: there is no change to take back.
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
            {layout.release(one.service, environment): pin.write(one.after) for one in moves},
            message=_message(environment, subject, reverted, moves),
            identity=identity,
        )
        try:
            repository.replace(commit, branch, expected=repository.fetch(branch))
        except LostRaceError:
            continue
        return Rollback(environment, branch, base, commit, reverted, subject, moves)
    raise RacesLostError(branch, _ATTEMPTS)


def title(made: Rollback) -> str:
    """One line that says what is taken back."""
    names = ", ".join(move.service for move in made.moves)
    return f"Roll back {names} in {made.environment}"


def _last(repository: Repository, base: str, paths: tuple[str, ...]) -> str | None:
    # Along the first parents, a merged promotion is one change: its merge.
    found = repository.log(None, base, *paths, limit=1, first_parent=True)
    return found[0].commit if found else None


def _message(environment: str, subject: str, reverted: str, moves: tuple[Move, ...]) -> str:
    lines = "\n".join(f"{one.service}: back to {one.after.tag} {one.after.digest}" for one in moves)
    return (
        f'Revert "{subject}"\n\nThis takes {environment} back to what it ran before'
        f" {reverted}.\n\n{lines}\n"
    )
