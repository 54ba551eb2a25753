"""A promotion is never early and never stuck, for random schedules of health, time and aborts."""

import random
from dataclasses import dataclass, field

import pytest

from gitops import readiness
from gitops.readiness import App, Observation, State

SOAK, GAP, PERIOD = 600.0, 90.0, 60.0


@dataclass
class World:
    """An environment, and a promoter that may be aborted at any point. Time is in seconds."""

    random: random.Random
    now: float = 0.0
    state: State = field(default_factory=State)
    commit: int = 0
    deployment: int = 0
    healthy: bool = True
    burning: bool | None = False
    compared_at: list[float] = field(default_factory=lambda: [0.0, 0.0])
    #: The last time at which something was observed that forbids a promotion.
    disturbed_at: float = 0.0
    promotions: list[tuple[float, int, int]] = field(default_factory=list)
    #: The commit of the last deployment.
    deployed_commit: int = 0
    commits: list[int] = field(default_factory=lambda: [0, 0])

    def observe(self) -> Observation:
        apps = tuple(
            App(
                name=f"app-{index}",
                deployment=str(self.deployment),
                settled=self.healthy,
                compared_at=compared_at,
                revision=str(self.commits[index]),
            )
            for index, compared_at in enumerate(self.compared_at)
        )
        return Observation(self.now, apps, self.burning)

    def step(self) -> None:
        """Run the promoter once. It can be aborted before the promotion, or before it is saved."""
        observation = self.observe()
        if not self.healthy or self.burning is not False:
            self.disturbed_at = self.now
        decision = readiness.decide(self.state, observation, soak_seconds=SOAK, gap_seconds=GAP)
        aborted = self.random.random()
        if aborted < 0.05:
            return  # the state is not saved
        state = decision.state
        if decision.revision is not None:
            if aborted < 0.1:
                self.state = state  # the forge did not answer
                return
            self.promotions.append((self.now, self.deployment, int(decision.revision)))
            self.check()
            if aborted < 0.15:
                return  # promoted, but the state is not saved
            state = readiness.confirm(state)
        self.state = state

    def check(self) -> None:
        """A promotion is not early, and its commit contains what was deployed."""
        at, _, revision = self.promotions[-1]
        assert at - self.disturbed_at >= SOAK
        assert revision >= self.deployed_commit

    def advance(self) -> None:
        """Let time pass, with random events."""
        draw = self.random.random
        self.now += PERIOD if draw() < 0.9 else self.random.choice([GAP, GAP + 60, 3600.0])
        if draw() < 0.3:
            self.commit += 1
        for index in range(len(self.compared_at)):
            if draw() < 0.7:  # Argo CD compares with the newest commit
                self.compared_at[index], self.commits[index] = self.now, self.commit
        if draw() < 0.05:
            self.deployment += 1
            self.commit += 1
            self.deployed_commit = self.commit
            self.disturbed_at = self.now
        if draw() < 0.08:
            self.healthy = not self.healthy
        if draw() < 0.05:
            self.burning = self.random.choice([True, False, None])

    def settle(self) -> None:
        """A quiet time: everything is well, and the promoter is not aborted."""
        self.healthy, self.burning = True, False
        self.random = random.Random(1)
        self.random.random = lambda: 0.5  # type: ignore[method-assign]
        for _ in range(int(SOAK / PERIOD) + 2):
            self.now += PERIOD
            self.compared_at = [self.now, self.now]
            self.commits = [self.commit, self.commit]
            self.step()


def run_schedules(seeds: range) -> int:
    promotions = 0
    for seed in seeds:
        world = World(random.Random(seed))
        for _ in range(world.random.randrange(1, 40)):
            world.advance()
            world.step()
        world.settle()
        # Never stuck: the deployment that runs now was promoted.
        assert world.promotions, seed
        assert world.promotions[-1][1] == world.deployment, seed
        promotions += len(world.promotions)
    return promotions


def test_random_schedules():
    assert run_schedules(range(3_000)) >= 3_000


@pytest.mark.soak
@pytest.mark.computes
def test_hundred_thousand_random_schedules():
    assert run_schedules(range(100_000)) >= 100_000


def observation(at: float, **changes: object) -> Observation:
    values: dict[str, object] = {
        "name": "a", "deployment": "1", "settled": True, "compared_at": at, "revision": "c",
    }  # fmt: skip
    burning = changes.pop("burning", False)
    return Observation(at, (App(**{**values, **changes}),), burning)  # type: ignore[arg-type]


def decisions(*observations: Observation) -> list[str]:
    state, reasons = State(), []
    for seen in observations:
        decision = readiness.decide(state, seen, soak_seconds=100, gap_seconds=60)
        state = readiness.confirm(decision.state) if decision.revision else decision.state
        reasons.append(decision.reason)
    return reasons


def test_same_deployment_is_promoted_once():
    reasons = decisions(*(observation(at) for at in range(0, 300, 50)))
    assert reasons.count("ready") == 1
    assert reasons[-1] == "already promoted"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"settled": False}, "not synced and healthy: a"),
        ({"burning": True}, "an objective burns its error budget too fast"),
        ({"burning": None}, "Prometheus did not answer"),
    ],
)
def test_disturbance_starts_the_soak_time_again(change: dict[str, object], reason: str):
    quiet = [observation(at) for at in (0, 50, 100)]
    assert decisions(*quiet)[-1] == "ready"
    disturbed = [observation(0), observation(50, **change), observation(100)]
    assert decisions(*disturbed) == ["soaks for 100 s more", reason, "soaks for 100 s more"]


def test_gap_in_the_observation_starts_the_soak_time_again():
    assert decisions(observation(0), observation(100))[-1] == "soaks for 100 s more"


def test_application_that_was_not_compared_again_delays_the_promotion():
    seen = [observation(at, compared_at=-1.0) for at in (0, 50, 100)]
    assert decisions(*seen)[-1] == "Argo CD has not compared a again yet"


def test_environment_without_applications_is_not_ready():
    assert decisions(Observation(0.0, (), False)) == ["no Application was found"]
