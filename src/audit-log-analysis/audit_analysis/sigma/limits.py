"""Limits of a rule, so that one rule is loaded in bounded time and memory.

The limits of the file itself (size, depth, number of values) are in ``yaml_reader``. All limits are
far above what public rules need.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sigma.correlations import SigmaCorrelationRule
from sigma.filters import SigmaFilter
from sigma.rule import SigmaDetection, SigmaDetections, SigmaRule

from audit_analysis.sigma.text_sets import TextSet

#: Maximum number of values with wildcards or modifiers in a file, after their expansion.
MAX_PATTERNS: Final = 50_000
#: Values for which pySigma makes more values: the maximum number for each value.
_EXPANSIONS: Final = {"windash": 125, "base64offset": 3}
#: Maximum length of a condition, in characters.
MAX_CONDITION: Final = 10_000
#: Maximum number of parentheses and `not` around a part of a condition.
MAX_NESTING: Final = 30
#: Maximum number of values in a condition after references to selections are resolved.
MAX_CONDITION_VALUES: Final = 100_000
#: Maximum length of the name of a selection, in characters.
_MAX_NAME: Final = 128
#: Maximum number of `*` in a reference such as `1 of selection_*`.
_MAX_STARS: Final = 3
#: Maximum number of rules of a correlation, and of tags.
MAX_REFERENCES: Final = 100
MAX_TAGS: Final = 100
#: Maximum period of a window, and of deduplication (seconds).
MAX_SECONDS: Final = 366 * 86400
#: Maximum threshold of a correlation.
MAX_THRESHOLD: Final = 1_000_000

_WORD: Final = re.compile(r"[()]|[^\s()]+")


def check_values(documents: Iterable[Mapping[str, Any]]) -> None:
    """Check the number of values of the documents of a file, before pySigma reads them.

    Raises:
        ValueError: there are too many values.
    """
    number = 0
    for document in documents:
        for key in ("detection", "filter"):
            number += _count_values(document.get(key), 1)
    if number > MAX_PATTERNS:
        raise ValueError(
            f"the rules of the file have {number:,} values with wildcards or modifiers; "
            f"the maximum is {MAX_PATTERNS:,}"
        )


def check_rule(rule: SigmaRule | SigmaCorrelationRule | SigmaFilter) -> None:
    """Check a rule that pySigma read, before its condition is parsed.

    Raises:
        ValueError: the rule exceeds a limit.
    """
    if len(rule.tags) > MAX_TAGS:
        raise ValueError(f"has {len(rule.tags)} tags; the maximum is {MAX_TAGS}")
    if isinstance(rule, SigmaCorrelationRule):
        if len(rule.rules or rule.referenced_rules) > MAX_REFERENCES:
            raise ValueError(f"a correlation has at most {MAX_REFERENCES} rules")
        check_seconds("correlation.timespan", rule.timespan.seconds)
        return
    check_detections(rule.filter if isinstance(rule, SigmaFilter) else rule.detection)


def check_seconds(name: str, seconds: int) -> None:
    """Check a period. Raises ValueError with its name."""
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"{name}: must be between one second and {MAX_SECONDS // 86400} days")


def check_detections(detections: SigmaDetections) -> None:
    """Check the conditions over the selections. Raises ValueError."""
    for name in detections.detections:
        if not isinstance(name, str) or len(name) > _MAX_NAME:
            raise ValueError(f"the name of a selection is a text of at most {_MAX_NAME} characters")
    sizes = {name: _size(selection) for name, selection in detections.detections.items()}
    total = sum(sizes.values())
    for condition in detections.condition:
        if not isinstance(condition, str):
            raise ValueError("a condition must be a text")  # noqa: TRY004 - the rule is wrong
        if len(condition) > MAX_CONDITION:
            raise ValueError(f"the condition is longer than {MAX_CONDITION:,} characters")
        words = _WORD.findall(condition)
        if any(word.count("*") > _MAX_STARS for word in words):
            raise ValueError(f"the condition has a reference with more than {_MAX_STARS} `*`")
        if words.count("(") != words.count(")"):
            raise ValueError("the condition has unbalanced parentheses")
        if _nesting(words) > MAX_NESTING:
            raise ValueError(f"the condition is nested deeper than {MAX_NESTING} levels")
        number = sum(
            total if "*" in word or word == "them" else sizes.get(word, 0) for word in words
        )
        if number > MAX_CONDITION_VALUES:
            raise ValueError(f"the condition repeats selections with {number:,} values in total")


def _nesting(words: Iterable[str]) -> int:
    """The maximum number of open parentheses and of `not` before a part of the condition.

    Raises ValueError if a parenthesis is closed before it is opened.
    """
    depth = deepest = negations = 0
    for word in words:
        if word == "not":
            negations += 1
        elif word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
            if depth < 0:
                raise ValueError("the condition has unbalanced parentheses")
        deepest = max(deepest, depth + negations)
        if word not in ("not", "("):
            negations = 0
    return deepest


def _size(selection: SigmaDetection) -> int:
    return sum(
        _size(item) if isinstance(item, SigmaDetection) else max(1, len(item.value))
        for item in selection.detection_items
    )


def _count_values(node: Any, weight: int) -> int:
    if isinstance(node, dict):
        number = 0
        for key, value in node.items():
            modifiers = str(key).split("|")[1:]
            number += _count_values(value, max([weight, *map(_weight, modifiers)]))
        return number
    if isinstance(node, list):
        return sum(_count_values(value, weight) for value in node)
    return 0 if isinstance(node, TextSet) else weight


def _weight(modifier: str) -> int:
    return _EXPANSIONS.get(modifier, 1)
