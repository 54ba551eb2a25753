"""Pin new images in one commit on the branch that Argo CD follows."""

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

#: The maximum number of pushes to try when other pushes win the race.
ATTEMPTS: Final = 10
#: The maximum delay between two attempts. The delay is random, so that two processes separate.
_MAX_WAIT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class PinResult:
    """The result for one release: NEWER was pinned, SAME was already pinned, OLDER was skipped."""

    release: Release
    before: pin.Pin
    order: Order


@dataclass(frozen=True)
class Bumped:
    """The results of a bump. ``commit`` is the pushed commit, or None if nothing changed."""

    results: tuple[PinResult, ...]
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
    """Pin the releases in an environment while other processes may push to the same branch.

    Each attempt starts from the current branch head and compares the pins again. Therefore no
    other push is lost, and no pin moves to an older commit. The function is idempotent.

    Args:
        attempts: the maximum number of pushes.
        wait: called with the attempt number (from 0) before the next attempt.

    Raises:
        NotOnBranchError: the commit of a release is not on the branch.
        UnrelatedCommitsError: a pinned commit is neither older nor newer than the release.
        PushRefusedError: the branch is protected and this identity may not push.
        RacesLostError: another push won the race in every attempt.
    """
    releases.require_unique_services(wanted)
    for attempt in range(attempts):
        tip = _tip(repository, branch)
        results = tuple(
            _compare(repository, tip, release, environment=environment, branch=branch)
            for release in wanted
        )
        files = {
            layout.release(result.release.service, environment): pin.write(result.release.pin)
            for result in results
            if result.order is Order.NEWER
        }
        if not files:
            return Bumped(results, None)
        message = _message(results, environment)
        commit = repository.commit(tip, files, message=message, identity=identity)
        try:
            repository.push(commit, branch)
        except LostRaceError:
            (wait or _wait)(attempt)
            continue
        return Bumped(results, commit)
    raise RacesLostError(branch, attempts)


def _tip(repository: Repository, branch: str) -> str:
    tip = repository.fetch(branch)
    if tip is None:
        raise GitOpsError(f"{repository.remote} has no branch {branch}")
    return tip


def _compare(
    repository: Repository, tip: str, release: Release, *, environment: str, branch: str
) -> PinResult:
    if not repository.is_ancestor(release.commit, tip):
        raise NotOnBranchError(release.service, release.commit, branch)
    before = pins.at(repository, tip, release.service, environment)
    return PinResult(release, before, order.compare(repository, before, release.pin))


def _message(results: Sequence[PinResult], environment: str) -> str:
    pinned = [result.release for result in results if result.order is Order.NEWER]
    names = ", ".join(release.service for release in pinned)
    lines = "\n".join(f"{release.service}: {release.commit} {release.digest}" for release in pinned)
    return f"Deploy {names} to {environment} at {pinned[0].commit[:12]}\n\n{lines}\n"


def _wait(attempt: int) -> None:
    longest = min(_MAX_WAIT_SECONDS, 0.2 * 2**attempt)
    time.sleep(random.uniform(0, longest))  # noqa: S311 -- jitter, not a secret
