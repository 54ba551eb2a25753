"""The compiled and indexed matcher agrees with a plain reading of the rule, on any rules and events."""

import re
from itertools import product
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from sigma.collection import SigmaCollection
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
)
from sigma.rule import SigmaRule
from sigma.types import (
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaString,
    SpecialChars,
)

from audit_analysis.sigma import build_rule
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event

FIELDS = ("a", "b", "c.d")
PIECES = ("who", "whoami", "curl", "x", "5", "", "Ünï", "a.b", "(", "\\")


# A plain, obviously correct reading of a rule.


def plainly(node: object, record: dict[str, Any]) -> bool:
    match node:
        case ConditionAND():
            return all(plainly(argument, record) for argument in node.args)
        case ConditionOR():
            return any(plainly(argument, record) for argument in node.args)
        case ConditionNOT():
            return not plainly(node.args[0], record)
        case ConditionFieldEqualsValueExpression(value=SigmaFieldReference() as other):
            pairs = product(values(record, node.field), values(record, other.field))
            return any(
                left is not None and right is not None
                and (str(right).lower() in str(left).lower() if other.starts_with
                     else str(right).lower() == str(left).lower())
                for left, right in pairs
            )  # fmt: skip
        case ConditionFieldEqualsValueExpression(value=SigmaExists()):
            return (node.field in record) is bool(node.value)
        case ConditionFieldEqualsValueExpression():
            return any(is_value(node.value, value) for value in values(record, node.field)) or (
                absence(node.value, values(record, node.field))
            )
    raise AssertionError(node)


def values(record: dict[str, Any], field: str) -> list[Any]:
    node: Any = record
    for part in field.split("."):
        if not isinstance(node, dict) or part not in node:
            return []
        node = node[part]
    return node if isinstance(node, list) else [node]


def absence(value: object, found: list[Any]) -> bool:
    if isinstance(value, SigmaNull):
        return all(value is None for value in found)
    return False


def is_value(value: object, found: Any) -> bool:
    match value:
        case SigmaExpansion():
            return any(is_value(item, found) for item in value.values)
        case SigmaCompareExpression():
            try:
                number = float(found)  # numbers that are text count as numbers
            except (TypeError, ValueError):
                return False
            return {"GTE": number >= 5, "LT": number < 5}[value.op.name]
        case SigmaNumber():
            return found is not None and str(found) == str(value)
        case SigmaString():
            if found is None:
                return False
            pattern = "".join(
                re.escape(part.lower()) if isinstance(part, str)
                else ".*" if part is SpecialChars.WILDCARD_MULTI else "."
                for part in value.s
            )  # fmt: skip
            return re.fullmatch(pattern, str(found).lower(), re.DOTALL) is not None
    return False


words = st.one_of(
    st.sampled_from(PIECES),
    st.lists(st.sampled_from([*PIECES, "*", "?", " "]), min_size=1, max_size=4).map("".join),
)
modified = st.tuples(
    st.sampled_from(FIELDS),
    st.sampled_from(["|contains", "|startswith", "|endswith", "|contains|all"]),
).map("".join)
several = st.lists(words, min_size=1, max_size=3)
items = st.one_of(
    st.dictionaries(modified, st.one_of(words, several), min_size=1, max_size=3),
    st.dictionaries(
        st.sampled_from(FIELDS),
        st.one_of(words, st.integers(0, 9), several),
        min_size=1,
        max_size=3,
    ),
)
exists = st.dictionaries(
    st.sampled_from(["a|exists", "b|exists", "c|exists"]), st.booleans(), min_size=1
)
others = st.sampled_from(
    [
        {"a|fieldref": "b"}, {"b|fieldref|contains": "c.d"}, {"a|fieldref|neq": "b"},
        {"a|neq": "whoami"}, {"b|neq": ["x", 5]}, {"a|gte": 5}, {"c.d|lt": 5},
    ]
)  # fmt: skip
nulls = st.just({"a": None})
selections = st.one_of(
    items, items, items, st.lists(items, min_size=1, max_size=2), exists, nulls, others
)
conditions = st.sampled_from(
    ["s1", "s1 and s2", "s1 or s2", "s1 and not s2", "not s1", "1 of s*", "all of s*",
     "(s1 or s2) and not s3", "s1 or (s2 and s3)"]
)  # fmt: skip
scalars = st.one_of(
    st.lists(st.sampled_from([*PIECES, " ", "WHOAMI"]), max_size=4).map("".join),
    st.integers(0, 9),
    st.none(),
)
records = st.fixed_dictionaries(
    {},
    optional={
        "a": st.one_of(scalars, st.lists(scalars, max_size=3)),
        "b": scalars,
        "c": st.fixed_dictionaries({}, optional={"d": scalars}),
    },
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "title": "t",
        "id": str(draw(st.uuids())),
        "logsource": {"product": "sample"},
        "detection": {
            **{f"s{number}": draw(selections) for number in (1, 2, 3)},
            "condition": draw(conditions),
        },
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(rules(), min_size=1, max_size=6), st.lists(records, min_size=1, max_size=6))
def test_it_agrees(described: list[dict[str, Any]], seen: list[dict[str, Any]]) -> None:
    parsed = [SigmaCollection.from_dicts([document]).rules[0] for document in described]
    indexed = RuleSet(
        [
            build_rule.detector(rule, revision="1", lateness=0)
            for rule in parsed
            if isinstance(rule, SigmaRule)
        ]
    )
    for record in seen:
        document = {
            "event_id": "e",
            "timestamp": "2026-01-01T00:00:00Z",
            "event_type": "t",
            "logsource": {"product": "sample"},
            "record": record,
        }
        view = View(event.decode(msgspec.json.encode(document)))
        found = sorted(match.rule.ref.id for match in indexed.match(view))
        expected = sorted(
            str(rule.id)
            for rule in parsed
            if isinstance(rule, SigmaRule)
            and any(plainly(c.parsed, record) for c in rule.detection.parsed_condition)
        )
        assert found == expected
