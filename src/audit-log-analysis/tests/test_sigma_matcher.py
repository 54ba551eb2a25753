"""Answers that are remembered by value are those that asking would give."""

from typing import Any

import msgspec
import pytest
from sigma.collection import SigmaCollection
from sigma.rule import SigmaRule

from audit_analysis.sigma import build_rule
from audit_analysis.sigma.fields import Values, View
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.sigma.verdict_cache import VerdictCache
from auditflow.contract import event


def detectors(*detections: dict[str, Any]) -> list[Any]:
    rules = [
        SigmaCollection.from_dicts(
            [
                {
                    "title": f"rule {number}",
                    "id": f"60000000-0000-4000-8000-{number:012}",
                    "logsource": {"product": "sample"},
                    "detection": {"condition": "s", **detection},
                }
            ]
        ).rules[0]
        for number, detection in enumerate(detections)
    ]
    return [
        build_rule.detector(rule, revision="1", lateness=0)
        for rule in rules
        if isinstance(rule, SigmaRule)
    ]


def view_of(record: dict[str, Any], kind: type[View] = View) -> View:
    fields = {
        "event_id": "e",
        "timestamp": "2026-01-01T00:00:00Z",
        "event_type": "t",
        "logsource": {"product": "sample"},
        "record": record,
    }
    return kind(event.decode(msgspec.json.encode(fields)))


def matched(rules: RuleSet, record: dict[str, Any]) -> list[str]:
    return [match.rule.ref.title for match in rules.match(view_of(record))]


@pytest.mark.parametrize(
    ("detection", "yes", "no"),
    [
        ({"s": {"a": 1}}, [1, "1"], [True, 1.0, "1.0", "true", None]),
        ({"s": {"a": True}}, [True, "true", "TRUE"], [1, 1.0, "1", None]),
        ({"s": {"a": "1.0"}}, [1.0, "1.0"], [1, True, "1"]),
        ({"s": {"a|re": "^A$"}}, ["A"], ["a", "AA", None]),
        ({"s": {"a": None}}, [None], ["", 0, False]),
    ],
)
def test_values_that_python_thinks_equal_have_verdicts_of_their_own(
    detection: dict[str, Any], yes: list[Any], no: list[Any]
) -> None:
    rules = RuleSet(detectors(detection))
    for _ in range(2):
        for value in [*yes, *no]:
            assert bool(matched(rules, {"a": value})) is (value in yes and type(value) in
                                                          map(type, yes)), value  # fmt: skip
    for value in yes:
        assert matched(rules, {"a": [value]}) == ["rule 0"]


def test_what_is_no_field_of_the_rule_does_not_matter_and_what_is_one_does() -> None:
    rules = RuleSet(detectors({"s": {"a": "x"}, "f": {"b": "y"}, "condition": "s and not f"}))
    for other in range(3):
        assert matched(rules, {"a": "x", "b": "z", "c": other}) == ["rule 0"]
        assert matched(rules, {"a": "x", "b": "y", "c": other}) == []
        assert matched(rules, {"a": "x", "c": other}) == ["rule 0"]
        assert matched(rules, {"a": "w", "b": "z", "c": other}) == []


def test_our_own_events_are_distinguished_by_attributes_and_details() -> None:
    (own,) = detectors(
        {
            "s": {"action_result": "FAILURE", "user_id|startswith": "a", "port": 22},
            "f": {"client_ip": "192.0.2.1"},
            "condition": "s and not f",
        }
    )
    rules = RuleSet([msgspec.structs.replace(own, logsource=event.LogSource(product="auditflow"))])
    good = {"action_result": "failure", "user_id": "alice", "details": {"port": 22}}
    wrong: list[dict[str, Any]] = [
        {"action_result": "SUCCESS"},
        {"action_result": None},
        {"action_result": ""},
        {"user_id": "bob"},
        {"user_id": None},
        {"details": {"port": "222"}},
        {"details": None},
        {"client_ip": "192.0.2.1"},
        {"details": {"port": 22, "ip_address": "192.0.2.1"}},
    ]
    for event_type in ("user_login", "of no category"):
        for _ in range(2):
            assert fires(rules, {**good, "event_type": event_type})
            assert fires(rules, {**good, "event_type": event_type, "client_ip": "192.0.2.2"})
            for change in wrong:
                assert not fires(rules, {**good, "event_type": event_type, **change}), change
            # a source's record has fields of its own by the same names
            assert not fires(rules, {**good, "event_type": event_type, "record": {"user_id": "b"}})
            assert fires(rules, {**good, "event_type": event_type, "record": {"user_id": "A"}})


def fires(rules: RuleSet, fields: dict[str, Any]) -> bool:
    named = {"event_id": "e", "timestamp": "2026-01-01T00:00:00Z", **fields}
    return bool(rules.match(View(event.decode(msgspec.json.encode(named)))))


def test_keywords_are_evaluated_for_each_event_and_the_order_of_rules_is_kept() -> None:
    rules = RuleSet(
        detectors({"s": {"a": "x"}}, {"s": ["needle"]}, {"s": {"a|contains": "x"}}, {"s": ["x"]})
    )
    for _ in range(2):
        assert matched(rules, {"a": "x", "b": "a needle"}) == [f"rule {n}" for n in range(4)]
        assert matched(rules, {"a": "x", "b": "hay"}) == ["rule 0", "rule 2", "rule 3"]


class Watched(View):
    """A view that records the fields that were requested."""

    __slots__ = ("requested",)

    def __init__(self, seen: event.Event) -> None:
        super().__init__(seen)
        self.requested: set[str] = set()

    def values(self, field: str) -> Values:
        self.requested.add(field)
        return super().values(field)


@pytest.mark.parametrize(
    ("detection", "reads"),
    [
        ({"s": {"a": "x", "b": ["y", "z"]}}, {"a", "b"}),
        ({"s": {"a|fieldref": "b"}}, {"a", "b"}),
        ({"s": [{"a|contains|all": ["x", "y"]}, {"c": None}]}, {"a", "c"}),
        ({"s": [{"a|contains|all": ["x", "y"]}, {"c|exists": True}]}, None),
        ({"s": {"a": "x"}, "f": {"d.e|cidr": "10.0.0.0/8"}, "condition": "not s or f"},
         {"a", "d.e"}),
        ({"s": {"a|base64offset|contains": "x"}}, {"a"}),
        ({"s": ["word"]}, None),
        ({"s": {"a": "x"}, "k": ["word"], "condition": "s or k"}, None),
    ],
)  # fmt: skip
def test_a_rule_declares_the_fields_that_it_reads(
    detection: dict[str, Any], reads: set[str] | None
) -> None:
    (detector,) = detectors(detection)
    assert detector.dependencies == reads
    if reads is None:
        return
    for record in (
        {},
        {"a": "x"},
        {"a": "xy", "b": "xy"},
        {"a": "q", "c": 1, "d": {"e": "10.1.1.1"}},
    ):
        view = view_of(record, Watched)
        assert isinstance(view, Watched)
        detector.matches(view)
        assert view.requested <= reads


def test_the_cache_is_bounded_and_keeps_requested_verdicts() -> None:
    memory: VerdictCache[int] = VerdictCache(capacity=10_000)
    memory.put(("often",), 1)
    for number in range(1000):
        memory.put((number, "x" * 100), number)
        assert memory.get(("often",)) == 1
    assert len(memory) <= 2 * 10_000 // 300 + 1
    assert memory.get((0, "x" * 100)) is None
    memory.put(("y" * 5000,), 2)
    assert memory.get(("y" * 5000,)) is None
