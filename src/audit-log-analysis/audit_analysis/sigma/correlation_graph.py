"""Which correlations depend on which: correlations may refer to other correlations."""

from collections.abc import Iterable, Iterator, Mapping

from sigma.correlations import SigmaCorrelationRule


def inner_correlations(parsed: SigmaCorrelationRule) -> tuple[str, ...]:
    """The ids of the correlations that a correlation refers to. References must be resolved."""
    rules = (reference.rule for reference in parsed.referenced_rules)
    return tuple(str(rule.id) for rule in rules if isinstance(rule, SigmaCorrelationRule))


def topological_order(dependencies: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """All ids, each after its dependencies. Ids that depend on themselves come last."""
    remaining = dict(dependencies)
    while remaining:
        ready = [
            rule_id for rule_id, needed in remaining.items() if remaining.keys().isdisjoint(needed)
        ]
        if not ready:
            yield from remaining
            return
        yield from ready
        for rule_id in ready:
            del remaining[rule_id]


def with_dependents(ids: Iterable[str], rules: Iterable[object]) -> set[str]:
    """The given ids, and the ids of all correlations that depend on them, directly or not."""
    found = set(ids)
    correlations = [rule for rule in rules if isinstance(rule, SigmaCorrelationRule)]
    while True:
        dependents = {
            str(rule.id)
            for rule in correlations
            if any(str(reference.rule.id) in found for reference in rule.referenced_rules)
        }
        if dependents <= found:
            return found
        found |= dependents
