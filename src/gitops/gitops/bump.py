"""Pin what was just built, in one commit on the branch that Argo CD follows."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gitops import layout, order, pin, pins, releases
from gitops.errors import (
    GitOpsError,
    LostRaceError,
    NotOnBranchError,
    RacesLostError,
)
from gitops.git import Identity, Repository
from gitops.order import Order
from gitops.releases import Release

#: So many pushes in between, and something else is wrong.
ATTEMPTS: Final = 10
#: The longest wait between two attempts; each is drawn, so that two racers part.
_MAX_WAIT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Outcome:
    """What became of one release: pinned, there already, or overtaken by a newer one."""

    release: Release
    before: pin.Pin
    order: Order


@dataclass(frozen=True)
class Bumped:
    """What became of all; ``commit`` is the bump, or None when there was nothing to write."""

    outcomes: tuple[Outcome, ...]
    commit: str | None


def bump(
    repository: Repository,
    wanted: Sequence[Release],
    *,
    environment: str,
    branch: str,
    identity: Identity,
    attempts: int = ATTEMPTS,
    wait: Callable[[int], None] | None = None,
) -> Bumped:
    """Pin the releases in an environment, whatever others push meanwhile.

    Each attempt starts from the branch as it then is and decides anew, so nothing of anybody is
    lost and no pin moves back. Called twice, it changes nothing the second time.

    Raises:
        NotOnBranchError: a release is of a commit that the branch has not.
        UnrelatedCommitsError: a pin is of a commit that is neither older nor newer.
        PushRefusedError: the branch is protected against this identity.
        RacesLostError: somebody else was faster each time.
    """
    releases.refuse_two_of_one(wanted)
    for attempt in range(attempts):
        tip = _tip(repository, branch)
        outcomes = tuple(
            _decide(repository, tip, one, environment=environment, branch=branch) for one in wanted
        )
        files = {
            layout.release(one.release.service, environment): pin.write(one.release.pin)
            for one in outcomes
            if one.order is Order.NEWER
        }
        if not files:
            return Bumped(outcomes, None)
        message = _message(outcomes, environment)
        commit = repository.commit(tip, files, message=message, identity=identity)
        try:
            repository.push(commit, branch)
        except LostRaceError:
            (wait or _wait)(attempt)
            continue
        return Bumped(outcomes, commit)
    raise RacesLostError(branch, attempts)


def _tip(repository: Repository, branch: str) -> str:
    tip = repository.fetch(branch)
    if tip is None:
        raise GitOpsError(f"{repository.remote} has no branch {branch}")
    return tip


def _decide(
    repository: Repository, tip: str, release: Release, *, environment: str, branch: str
) -> Outcome:
    if not repository.is_ancestor(release.commit, tip):
        raise NotOnBranchError(release.service, release.commit, branch)
    before = pins.at(repository, tip, release.service, environment)
    return Outcome(release, before, order.compare(repository, before, release.pin))


def _message(outcomes: Sequence[Outcome], environment: str) -> str:
    moved = [one.release for one in outcomes if one.order is Order.NEWER]
    names = ", ".join(one.service for one in moved)
    lines = "\n".join(f"{one.service}: {one.commit} {one.digest}" for one in moved)
    return f"{environment}: run {names} of {moved[0].commit[:12]}\n\n{lines}\n"


def _wait(attempt: int) -> None:
    longest = min(_MAX_WAIT_SECONDS, 0.2 * 2**attempt)
    time.sleep(random.uniform(0, longest))  # noqa: S311 -- parts racers, keeps no secret
