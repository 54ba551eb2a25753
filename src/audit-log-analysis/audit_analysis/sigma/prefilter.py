"""Necessary conditions of a rule, by which the index finds the rules that an event could match.

A requirement is necessary, never sufficient: the predicate of the rule decides. A rule without a
requirement is evaluated for every event of its log source.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionOR,
)
from sigma.rule import SigmaRule
from sigma.types import (
    SigmaBool,
    SigmaExpansion,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
)

from audit_analysis.sigma import regex_literals
from audit_analysis.sigma.fields import text
from audit_analysis.sigma.text_sets import TextSet

#: Minimum length of a substring. Shorter ones occur in too many values.
_MIN_LENGTH: Final = 3


class Requirement(Struct, frozen=True):
    """A value of ``field``, in lower case, is one of ``equal`` or contains one of ``contain``."""

    field: str
    equal: frozenset[str] = frozenset()
    contain: frozenset[str] = frozenset()

    @property
    def cost(self) -> tuple[bool, int]:
        """Order of preference: complete values before substrings, few values before many."""
        return bool(self.contain), len(self.equal) + len(self.contain)


def of_rule(parsed: SigmaRule) -> tuple[Requirement, ...]:
    """All requirements of a rule. Each of them is necessary. Empty if there are none."""
    conditions = parsed.detection.parsed_condition
    return tuple(_of_alternatives([_of_condition(condition.parsed) for condition in conditions]))


def _of_condition(node: object) -> list[Requirement]:
    match node:
        case ConditionAND():
            return [found for argument in node.args for found in _of_condition(argument)]
        case ConditionOR():
            return _of_alternatives([_of_condition(argument) for argument in node.args])
        case ConditionFieldEqualsValueExpression():
            found = _of_value(node.field, node.value)
            return [] if found is None else [found]
    return []  # Negations and keywords require nothing of a single field.


def _of_alternatives(alternatives: Sequence[Sequence[Requirement]]) -> list[Requirement]:
    """The requirements of an OR: those on fields that every alternative restricts."""
    best = [_best_by_field(requirements) for requirements in alternatives]
    shared = set.intersection(*(set(by_field) for by_field in best)) if best else set()
    unions = (_union(field, [by_field[field] for by_field in best]) for field in sorted(shared))
    return [union for union in unions if union is not None]


def _best_by_field(requirements: Sequence[Requirement]) -> dict[str, Requirement]:
    """The cheapest requirement on each field."""
    best: dict[str, Requirement] = {}
    for requirement in requirements:
        known = best.get(requirement.field)
        if known is None or requirement.cost < known.cost:
            best[requirement.field] = requirement
    return best


def _of_value(field: str, value: SigmaType) -> Requirement | None:
    match value:
        case TextSet():
            if value.kind == "equals":
                return Requirement(field, equal=value.texts)
            if min(map(len, value.texts)) >= _MIN_LENGTH:
                return Requirement(field, contain=value.texts)
        case SigmaExpansion():
            each = [_of_value(field, alternative) for alternative in value.values]
            return _union(field, each)
        case SigmaRegularExpression():
            literal = regex_literals.required(str(value.regexp))
            if len(literal) >= _MIN_LENGTH and literal.isascii():
                return Requirement(field, contain=frozenset({literal}))
        case SigmaTimestampPart():
            return None  # A subclass of SigmaNumber that is not compared with the value itself.
        case SigmaNumber() | SigmaBool():
            return Requirement(field, equal=frozenset({str(text(value.to_plain()))}))
        case SigmaString():
            parts = [part.lower() for part in value.s if isinstance(part, str)]
            if not value.s or (len(value.s) == 1 and parts):
                return Requirement(field, equal=frozenset({"".join(parts)}))
            longest = max(parts, key=len, default="")
            if len(longest) >= _MIN_LENGTH:
                return Requirement(field, contain=frozenset({longest}))
    return None


def _union(field: str, alternatives: Sequence[Requirement | None]) -> Requirement | None:
    """The union of requirements on one field; None if an alternative requires nothing."""
    equal: set[str] = set()
    contain: set[str] = set()
    for requirement in alternatives:
        if requirement is None:
            return None
        equal |= requirement.equal
        contain |= requirement.contain
    return Requirement(field, frozenset(equal), frozenset(contain)) if alternatives else None
