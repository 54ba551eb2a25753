"""Events through windows, and what completes a window on through the windows that it feeds.

Windows are asked level by level: first those of rules that count events alone, then those of rules
that count what the first found, and so on. Within a level the order is that in which the events
came, so that nothing is later for a window than it was for the windows before it.
"""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from audit_analysis.correlation import findings
from audit_analysis.sigma.rule import Link, Rule, RuleSet
from audit_analysis.windows import Hit, Observation, Outcome, WindowKeeper
from auditflow.contract import identity

C = TypeVar("C")


class Counted(Struct, Generic[C], frozen=True):
    """An event on its way through a window, with what its finding needs and what brought it."""

    rule: Rule
    entity: dict[str, str]
    observation: Observation
    cause: C


def observe(
    windows: WindowKeeper, rules: RuleSet, counted: Sequence[Counted[C]]
) -> Iterator[tuple[Counted[C], Outcome]]:
    """Take events in, through as many levels of windows as they come to: one trip for each level.

    Raises:
        auditflow.errors.Unavailable: the windows cannot be reached; doing it again sets it right.
    """
    # The number is the place of the event that began it: hits are as old as what completed them.
    waiting: dict[int, list[tuple[int, Counted[C]]]] = {}
    for place, one in enumerate(counted):
        waiting.setdefault(one.rule.depth, []).append((place, one))
    while waiting:
        level = sorted(waiting.pop(min(waiting)), key=lambda each: each[0])
        outcomes = windows.observe([one.observation for _, one in level])
        for (place, one), outcome in zip(level, outcomes, strict=True):
            for following in _following(rules, one, outcome):
                waiting.setdefault(following.rule.depth, []).append((place, following))
            yield one, outcome


def _following(rules: RuleSet, one: Counted[C], outcome: Outcome) -> Iterator[Counted[C]]:
    """What the hits of a window are to the windows that it feeds."""
    if not outcome.hits:
        return
    for link in rules.fed_by(one.rule):
        entity = {name: one.entity[inner] for name, inner in link.group_by.items()}
        key = findings.window_key(link.rule, entity)
        assert link.rule.window is not None
        for hit in outcome.hits:
            observation = Observation(
                link.rule.window,
                key,
                hit.event_id,
                hit.moment,
                hit.raw,
                _tag(link, one, hit),
                hit.approximate,
            )
            yield Counted(link.rule, entity, observation, one.cause)


def _tag(link: Link, one: Counted[C], hit: Hit) -> str:
    """What a hit is to a window: its stage, the value that is counted, or the finding it is in."""
    if link.counted is not None:
        return one.entity[link.counted]
    if link.stage:
        return link.stage
    assert one.rule.window is not None
    bucket = hit.moment // one.rule.window.dedup
    return str(identity.finding_id(one.rule.ref.id, one.entity, bucket))
