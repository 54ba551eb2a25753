"""The graph of correlations that refer to correlations: order of construction, and dependents."""

from collections.abc import Mapping
from typing import Any

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule

from audit_analysis.sigma.correlation_graph import (
    inner_correlations,
    topological_order,
    with_dependents,
)

IDS = {name: f"10000000-0000-4000-8000-00000000000{number}" for number, name in enumerate("labcde")}


def correlation(name: str, *inner: str) -> dict[str, Any]:
    return {
        "title": name,
        "id": IDS[name],
        "name": name,
        "correlation": {
            "type": "temporal",
            "rules": list(inner),
            "group-by": ["user_id"],
            "timespan": "1m",
        },
    }


LOGIN: dict[str, Any] = {
    "title": "l",
    "id": IDS["l"],
    "name": "l",
    "logsource": {"product": "sample"},
    "detection": {"s": {"x": 1}, "condition": "s"},
}


def parsed(*correlations: dict[str, Any]) -> dict[str, Any]:
    collection = SigmaCollection.from_dicts([LOGIN, *correlations])
    collection.resolve_rule_references()
    return {str(rule.title): rule for rule in collection.rules}


def test_inner_correlations_are_those_that_a_correlation_refers_to() -> None:
    rules = parsed(correlation("a", "l"), correlation("b", "l", "a"))
    assert isinstance(rules["b"], SigmaCorrelationRule)
    assert inner_correlations(rules["b"]) == (IDS["a"],)
    assert inner_correlations(rules["a"]) == ()


def order(dependencies: Mapping[str, tuple[str, ...]]) -> str:
    return "".join(topological_order(dependencies))


def test_each_correlation_comes_after_those_that_it_refers_to() -> None:
    assert order({}) == ""
    assert order({"c": ("b",), "b": ("a",), "a": ()}) == "abc"
    assert order({"c": ("a", "b"), "b": ("a",), "a": (), "d": ()}) == "adbc"
    assert order({"b": ("rule",), "a": ("b",)}) == "ba"


def test_correlations_in_a_cycle_come_last() -> None:
    assert order({"a": ("b",), "b": ("a",), "c": (), "d": ("c",)}) == "cdab"
    assert order({"a": ("a",)}) == "a"


def test_dependents_are_found_through_any_number_of_levels() -> None:
    rules = parsed(
        correlation("c", "b"),
        correlation("b", "l", "a"),
        correlation("a", "l"),
        correlation("d", "l"),
        correlation("e", "l", "d"),
    )

    def dependents(*names: str) -> set[str]:
        found = with_dependents((IDS[name] for name in names), rules.values())
        return {name for name, rule_id in IDS.items() if rule_id in found}

    assert dependents() == set()
    assert dependents("c") == {"c"}
    assert dependents("b") == {"b", "c"}
    assert dependents("a") == {"a", "b", "c"}
    assert dependents("d", "b") == {"d", "e", "b", "c"}
    assert dependents("l") == {"l", "a", "b", "c", "d", "e"}
