"""The matcher: what it caches, the order of results, overlapping texts, and slow rules."""

from collections.abc import Callable
from time import thread_time
from typing import Any

import msgspec
import pytest
from sigma.collection import SigmaCollection
from sigma.rule import SigmaRule

from audit_analysis.sigma import build_rule
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.matcher import Entry, Matcher
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.sigma.values import Predicate
from audit_analysis.sigma.verdict_cache import VerdictCache
from auditflow.contract import event


def view_of(**fields: Any) -> View:
    complete = {
        "event_id": "e",
        "timestamp": "2026-01-01T00:00:00Z",
        "event_type": "t",
        "logsource": {"product": "sample"},
        **fields,
    }
    return View(event.decode(msgspec.json.encode(complete)))


class Counted:
    """A predicate on one field that counts its evaluations."""

    def __init__(self, field: str, value: str) -> None:
        self.field, self.value, self.evaluations = field, value, 0

    def __call__(self, view: View) -> bool:
        self.evaluations += 1
        return self.value in view.lowered(self.field)


def entry(target: str, matches: Predicate, *dependencies: str) -> Entry[str]:
    return Entry(target, matches, dependencies=frozenset(dependencies) if dependencies else None)


@pytest.mark.parametrize(
    ("field", "event_of"),
    [
        ("user_id", lambda value: view_of(user_id=value)),
        ("port", lambda value: view_of(details={"port": value})),
        ("name", lambda value: view_of(record={"name": value})),
    ],
    ids=["attribute", "details", "record"],
)
def test_a_predicate_is_evaluated_once_for_equal_values(
    field: str, event_of: Callable[[str], View]
) -> None:
    # given a rule that depends on one field
    predicate = Counted(field, "a")
    matcher = Matcher([entry("rule", predicate, field)], cache=VerdictCache(), limit=60.0)
    # when events with two different values arrive
    for _ in range(3):
        assert list(matcher.match(event_of("a"))) == ["rule"]
        assert list(matcher.match(event_of("b"))) == []
    # then the rule was evaluated once for each value
    assert predicate.evaluations == 2


def test_a_result_depends_on_all_fields_of_the_rule() -> None:
    predicate = Counted("port", "22")
    matcher = Matcher([entry("rule", predicate, "user_id", "port")], cache=VerdictCache())
    for _ in range(2):
        for user in ("a", "b"):
            assert matcher.match(view_of(user_id=user, details={"port": "22"}))
            assert not matcher.match(view_of(user_id=user, details={"port": "23"}))
    assert predicate.evaluations == 4


def test_many_fields_are_not_read_if_the_first_condition_does_not_hold() -> None:
    # given a rule whose first condition decides, and many fields that its other conditions test
    others = [f"spec.field{number}" for number in range(20)]
    matcher = Matcher(
        [
            entry(
                "rule",
                lambda view: (
                    "pods" in view.lowered("kind")
                    and any("true" in view.lowered(field) for field in others)
                ),
                "kind",
                *others,
            )
        ],
        cache=VerdictCache(),
    )
    read: list[str] = []

    class RecordingView(View):
        def _find(self, field: str) -> Any:
            read.append(field)
            return super()._find(field)

    # when an event of another kind arrives, then only the first field is read
    assert not matcher.match(RecordingView(view_of(record={"kind": "secrets"}).event))
    assert read == ["kind"]
    # and an event that matches is still found
    assert matcher.match(view_of(record={"kind": "pods", "spec": {"field19": True}}))


def test_a_rule_about_the_complete_event_is_evaluated_each_time() -> None:
    predicate = Counted("user_id", "a")
    matcher = Matcher([entry("rule", predicate)], cache=VerdictCache())
    for _ in range(3):
        assert list(matcher.match(view_of(user_id="a"))) == ["rule"]
    assert predicate.evaluations == 3


def test_matchers_with_the_same_cache_do_not_share_results() -> None:
    cache: VerdictCache[tuple[int, ...]] = VerdictCache()
    first = Matcher([entry("first", Counted("user_id", "a"), "user_id")], cache=cache)
    second = Matcher([entry("second", Counted("user_id", "b"), "user_id")], cache=cache)
    for _ in range(2):
        assert list(first.match(view_of(user_id="a"))) == ["first"]
        assert list(second.match(view_of(user_id="a"))) == []


def test_results_have_the_order_of_the_entries() -> None:
    predicate = Counted("user_id", "a")
    entries = [
        entry(name, predicate, *(["user_id"] if cached else []))
        for name, cached in (("c", True), ("b", False), ("a", True), ("d", False))
    ]
    matcher = Matcher(entries, cache=VerdictCache())
    for _ in range(2):
        assert list(matcher.match(view_of(user_id="a"))) == ["c", "b", "a", "d"]


def test_only_entries_that_are_slow_alone_are_reported() -> None:
    # given a limit of 0.2 seconds of processor time, a slow rule and a fast one
    def slow(view: View) -> bool:
        end = thread_time() + 0.3
        while thread_time() < end:
            pass
        return True

    fast = Counted("user_id", "a")
    reported: list[tuple[str, float]] = []
    matcher = Matcher(
        [entry("slow", slow), entry("fast", fast)],
        cache=VerdictCache(),
        limit=0.2,
        on_slow=lambda target, seconds: reported.append((target, seconds)),
    )
    # when an event is matched, then the slow rule is reported, and the result is complete
    assert list(matcher.match(view_of(user_id="a"))) == ["slow", "fast"]
    ((target, seconds),) = reported
    assert target == "slow"
    assert 0.3 <= seconds < thread_time()


def rules(*detections: dict[str, Any]) -> RuleSet:
    parsed = [
        SigmaCollection.from_dicts(
            [
                {
                    "title": f"rule {number}",
                    "id": f"60000000-0000-4000-8000-{number:012}",
                    "logsource": {"product": "sample"},
                    "detection": {"condition": "s", "s": detection},
                }
            ]
        ).rules[0]
        for number, detection in enumerate(detections)
    ]
    return RuleSet(
        [
            build_rule.detector(rule, revision="1", lateness=0)
            for rule in parsed
            if isinstance(rule, SigmaRule)
        ]
    )


TEXTS = ["shadow", "/etc/shadow", "/etc", "etc/sha", "adow", "a", "dow-", "/etc/shadow-"]


@pytest.mark.parametrize(
    "value", [*TEXTS, "cat /etc/shadow", "/etc/passwd", "shado", "", "x/ETC/SHADOWx"]
)
def test_texts_that_overlap_are_all_found(value: str) -> None:
    # given rules that search for texts that contain or overlap each other
    ruleset = rules(*({"name|contains": text} for text in TEXTS))
    # then each rule matches exactly the values that contain its text
    found = {match.rule.ref.title for match in ruleset.match(view_of(record={"name": value}))}
    assert found == {f"rule {n}" for n, text in enumerate(TEXTS) if text in value.lower()}


@pytest.mark.parametrize("value", ["a", "ab", "abc", "b", "bc", "xabcx", "c", ""])
def test_complete_values_and_parts_of_values_are_found_together(value: str) -> None:
    ruleset = rules(
        {"name": "abc"}, {"name|contains": "b"}, {"name|startswith": "ab"}, {"name|endswith": "bc"}
    )
    found = {match.rule.ref.title for match in ruleset.match(view_of(record={"name": value}))}
    expected = [value == "abc", "b" in value, value.startswith("ab"), value.endswith("bc")]
    assert found == {f"rule {number}" for number, holds in enumerate(expected) if holds}
