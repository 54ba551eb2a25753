"""Decide when an environment is ready to be promoted. Pure.

An environment is ready if for the soak time all its Applications were Synced and Healthy, nothing
was deployed, and no objective burned its error budget too fast. What was promoted already is not
promoted again. A missing observation starts the soak time again, because it can be the observation
of a problem. Therefore a promotion is never early. It is never stuck: a quiet environment is
promoted after the soak time, independent of earlier failures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class App:
    """The state of an Application of Argo CD."""

    name: str
    #: Identifies the last deployment. It changes with each sync that Argo CD completes.
    deployment: str
    #: Synced, Healthy, and no sync in progress.
    settled: bool
    #: When Argo CD compared the Application with git, in seconds since 1970, and with which commit.
    compared_at: float
    revision: str


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of an environment at a time, in seconds since 1970."""

    at: float
    apps: tuple[App, ...]
    #: Whether an objective burns its error budget too fast. None: Prometheus did not answer.
    burning: bool | None


@dataclass(frozen=True, slots=True)
class State:
    """The state that is kept between two observations."""

    #: Since when the environment is continuously ready. None: it is not ready.
    since: float | None = None
    last_at: float = float("-inf")
    deployments: str = ""
    #: The deployments that were promoted last.
    promoted: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, and the commit to promote. None: nothing is promoted, for the reason."""

    state: State
    revision: str | None
    reason: str


def decide(
    state: State, observation: Observation, *, soak_seconds: float, gap_seconds: float
) -> Decision:
    """Decide after an observation.

    The caller promotes the returned revision, and then calls ``confirm``. If the promotion fails,
    the next observation returns it again.

    Args:
        gap_seconds: the maximum time between two observations. It is less than two periods of the
            caller, so that a single missing observation is noticed.
    """
    deployments = "\n".join(sorted(f"{app.name} {app.deployment}" for app in observation.apps))
    reset = replace(state, since=None, last_at=observation.at, deployments=deployments)
    if reason := _obstacle(observation):
        return Decision(reset, None, reason)
    continuous = (
        state.since is not None
        and deployments == state.deployments
        and 0 <= observation.at - state.last_at <= gap_seconds
    )
    since = state.since if continuous and state.since is not None else observation.at
    after = replace(reset, since=since)
    if deployments == state.promoted:
        return Decision(after, None, "already promoted")
    if (waited := observation.at - since) < soak_seconds:
        return Decision(after, None, f"soaks for {soak_seconds - waited:.0f} s more")
    # The commit must be newer than the last deployment of each Application.
    oldest = min(observation.apps, key=lambda app: app.compared_at)
    if oldest.compared_at < since:
        return Decision(after, None, f"Argo CD has not compared {oldest.name} again yet")
    return Decision(after, oldest.revision, "ready")


def confirm(state: State) -> State:
    """The state after a successful promotion."""
    return replace(state, promoted=state.deployments)


def _obstacle(observation: Observation) -> str:
    if not observation.apps:
        return "no Application was found"
    if unsettled := [app.name for app in observation.apps if not app.settled]:
        return f"not synced and healthy: {_names(unsettled)}"
    if observation.burning is None:
        return "Prometheus did not answer"
    return "an objective burns its error budget too fast" if observation.burning else ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(sorted(names))
