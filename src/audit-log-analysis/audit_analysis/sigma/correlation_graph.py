"""Correlations of correlations: which rests on which, from the ground up."""

from collections.abc import Iterable, Iterator, Mapping

from sigma.correlations import SigmaCorrelationRule


def below(parsed: SigmaCorrelationRule) -> tuple[str, ...]:
    """The ids of the correlations that one rests on. Its references must be resolved."""
    rules = (reference.rule for reference in parsed.referenced_rules)
    return tuple(str(one.id) for one in rules if isinstance(one, SigmaCorrelationRule))


def in_order(rests_on: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """All of them, each after those that it rests on; what rests on itself comes last."""
    waiting = dict(rests_on)
    while waiting:
        ready = [name for name, under in waiting.items() if not waiting.keys() & set(under)]
        yield from ready or waiting
        waiting = {name: under for name, under in waiting.items() if name not in ready and ready}


def resting_on(names: Iterable[str], rules: Iterable[object]) -> set[str]:
    """These rules, by their ids, and all correlations that rest on them, directly or not."""
    found = set(names)
    correlations = [one for one in rules if isinstance(one, SigmaCorrelationRule)]
    while True:
        more = {
            str(one.id)
            for one in correlations
            if any(str(reference.rule.id) in found for reference in one.referenced_rules)
        }
        if more <= found:
            return found
        found |= more
