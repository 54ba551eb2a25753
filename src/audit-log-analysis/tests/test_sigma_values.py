"""Strings with wildcards, compared with a plain reading of them, and values without support."""

import operator
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCompareExpression,
    SigmaNumber,
    SigmaString,
    SigmaType,
)

from audit_analysis.sigma import values
from audit_analysis.sigma.errors import Unsupported
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.text_sets import Kind, TextSet
from auditflow.contract import event

pieces = st.lists(st.sampled_from(["a", "B", "*", "?", "."]), max_size=5).map("".join)
texts = st.text("aAbB.\n", max_size=5)


def expected(pattern: str, text: str) -> bool:
    """The definition: * is any text, ? is one character, other characters are themselves."""
    parts = {"*": ".*", "?": "."}
    expression = "".join(parts.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


@given(pieces, texts)
def test_a_string_matches_as_its_wildcards_say(pattern: str, text: str) -> None:
    test = values.string_test(SigmaString(pattern))
    assert test(text.lower()) is expected(pattern.lower(), text.lower())
    cased = values.string_test(SigmaString(pattern), cased=True)
    assert cased(text) is expected(pattern, text)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "*",
        "?",
        "a",
        "a*",
        "*a",
        "*a*",
        "a?",
        "?a",
        "?a?",
        "*a?",
        "?a*",
        "a*b",
        "a?b",
        "**",
        "??",
    ],
)
@pytest.mark.parametrize(
    "text", ["", "a", "b", "ab", "ba", "xab", "abx", "xabx", "aa", "aab", "baa", "\n", "a\nb"]
)
def test_each_form_of_a_string(pattern: str, text: str) -> None:
    assert values.string_test(SigmaString(pattern))(text) is expected(pattern, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (SigmaString("Hello"), "hello"),
        (SigmaString(""), ""),
        (SigmaString(r"a\*b"), "a*b"),
        (SigmaString("a*"), None),
        (SigmaString("?"), None),
        (SigmaCasedString("Hello"), None),
        (SigmaNumber(5), None),
    ],
)
def test_only_a_string_without_wildcards_is_plain(value: SigmaType, text: str | None) -> None:
    assert values.plain(value) == text


COMPARISONS: dict[CompareOperators, Callable[[float, float], bool]] = {
    CompareOperators.LT: operator.lt,
    CompareOperators.LTE: operator.le,
    CompareOperators.GT: operator.gt,
    CompareOperators.GTE: operator.ge,
    CompareOperators.NEQ: operator.ne,
}


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("number", [4, 5, 6])
def test_numbers_are_compared(comparison: CompareOperators, number: int) -> None:
    complete = {
        "event_id": "e",
        "timestamp": "2026-01-01T00:00:00Z",
        "event_type": "t",
        "record": {"a": number},
    }
    view = View(event.decode(msgspec.json.encode(complete)))
    predicate = values.predicate("a", SigmaCompareExpression(SigmaNumber(5), comparison))
    assert predicate(view) is COMPARISONS[comparison](number, 5)


class _UnknownValue(SigmaType):
    """A kind of value of a future version of pySigma."""

    def __init__(self) -> None:
        pass

    def to_plain(self) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (SigmaString("%x%").insert_placeholders(), "a placeholder without values"),
        (_UnknownValue(), "values of the kind _UnknownValue"),
    ],
)
def test_a_value_without_support_is_an_error(value: SigmaType, message: str) -> None:
    with pytest.raises(Unsupported, match=re.escape(message)):
        values.predicate("a", value)


@pytest.mark.parametrize("value", [SigmaBool(True), _UnknownValue()])
def test_a_keyword_without_support_is_an_error(value: SigmaType) -> None:
    with pytest.raises(Unsupported, match=f"keywords of the kind {type(value).__name__}"):
        values.keyword(value)


@pytest.mark.parametrize(
    ("kind", "matching", "other"),
    [
        ("equals", "ALICE", "alice2"),
        ("contains", "x-Alice-y", "x-alic-y"),
        ("startswith", "alice2", "2alice"),
        ("endswith", "2alice", "alice2"),
    ],
)
def test_a_set_of_texts_matches_in_any_letter_case(kind: Kind, matching: str, other: str) -> None:
    matches = values.predicate("user_id", TextSet(kind, frozenset({"alice", "bob"})))

    def view(user: str) -> View:
        document = {"event_id": "1", "timestamp": "2026-01-01T00:00:00Z", "event_type": "t"}
        return View(event.decode(msgspec.json.encode({**document, "user_id": user})))

    assert matches(view(matching))
    assert not matches(view(other))


def test_a_pattern_that_re2_refuses_is_an_error_without_other_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Unsupported, match="a text with too many wildcards"):
        values.string_test(SigmaString("a?" * 100_000))
    assert capfd.readouterr() == ("", "")  # RE2 writes to stderr by default
