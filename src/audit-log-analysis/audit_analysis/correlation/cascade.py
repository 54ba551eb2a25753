"""Passes events through the windows of their rules, and hits on to the windows that they feed.

Windows are processed by level: first the windows of rules that count events only, then the windows
of rules that count the hits of the first level, and so on. Within a level the observations keep
the order in which the events arrived, so no event is later for an outer window than it was for the
inner windows.
"""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from audit_analysis.correlation import findings
from audit_analysis.sigma.rule import Link, Rule, RuleSet
from audit_analysis.windows import Hit, Observation, ObservationResult, WindowStore
from auditflow.contract import identity

C = TypeVar("C")


class RuleObservation(Struct, Generic[C], frozen=True):
    """An observation with its rule, its entity, and ``cause``: the event and message behind it."""

    rule: Rule
    entity: dict[str, str]
    observation: Observation
    cause: C


def observe(
    windows: WindowStore, rules: RuleSet, observations: Sequence[RuleObservation[C]]
) -> Iterator[tuple[RuleObservation[C], ObservationResult]]:
    """Add observations to their windows, level by level: one call of the store for each level.

    Raises:
        auditflow.errors.Unavailable: the windows cannot be reached. Repeating the call is safe.
    """
    # The number is the position of the original observation: hits keep the order of their causes.
    by_depth: dict[int, list[tuple[int, RuleObservation[C]]]] = {}
    for position, observation in enumerate(observations):
        by_depth.setdefault(observation.rule.depth, []).append((position, observation))
    while by_depth:
        level = sorted(by_depth.pop(min(by_depth)), key=lambda numbered: numbered[0])
        results = windows.observe([observation.observation for _, observation in level])
        for (position, observation), result in zip(level, results, strict=True):
            for outer in _outer_observations(rules, observation, result):
                by_depth.setdefault(outer.rule.depth, []).append((position, outer))
            yield observation, result


def _outer_observations(
    rules: RuleSet, inner: RuleObservation[C], result: ObservationResult
) -> Iterator[RuleObservation[C]]:
    """The observations of the windows that the hits of one window feed."""
    if not result.hits:
        return
    for link in rules.fed_by(inner.rule):
        entity = {name: inner.entity[inner_name] for name, inner_name in link.group_by.items()}
        key = findings.window_key(link.rule, entity)
        assert link.rule.window is not None
        for hit in result.hits:
            observation = Observation(
                link.rule.window,
                key,
                hit.event_id,
                hit.timestamp_ms,
                hit.raw,
                _tag(link, inner, hit),
                hit.approximate,
                hit.reference,
            )
            yield RuleObservation(link.rule, entity, observation, inner.cause)


def _tag(link: Link, inner: RuleObservation[C], hit: Hit) -> str:
    """The tag of a hit in the outer window: its stage, its counted value, or its finding's id."""
    if link.counted is not None:
        return inner.entity[link.counted]
    if link.stage:
        return link.stage
    assert inner.rule.window is not None
    bucket = hit.timestamp_ms // inner.rule.window.dedup
    return str(identity.finding_id(inner.rule.ref.id, inner.entity, bucket))
