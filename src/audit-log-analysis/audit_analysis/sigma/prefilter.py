"""What an event must have for a rule to match at all: the key by which an index finds the rule.

A requirement is necessary, never sufficient: the predicate still decides. A rule without one is
asked about every event of its log source.
"""

from collections.abc import Sequence
from functools import reduce
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

#: A shorter piece of text is in too many values to tell rules apart.
_SHORTEST: Final = 3


class Requirement(Struct, frozen=True):
    """A value of ``field``, in lower case, is one of ``equal`` or contains one of ``contain``."""

    field: str
    equal: frozenset[str] = frozenset()
    contain: frozenset[str] = frozenset()

    @property
    def cost(self) -> tuple[bool, int]:
        """Less is better: whole values tell more than pieces, and few more than many."""
        return bool(self.contain), len(self.equal) + len(self.contain)

    def or_(self, other: "Requirement") -> "Requirement":
        """What holds when one of two requirements on the same field does."""
        return Requirement(self.field, self.equal | other.equal, self.contain | other.contain)


def of_rule(parsed: SigmaRule) -> tuple[Requirement, ...]:
    """All that a rule requires; each by itself is necessary. Empty when it requires nothing."""
    conditions = parsed.detection.parsed_condition
    return tuple(_any_of([_of(condition.parsed) for condition in conditions]))


def _of(node: object) -> list[Requirement]:
    match node:
        case ConditionAND():
            return [found for one in node.args for found in _of(one)]
        case ConditionOR():
            return _any_of([_of(one) for one in node.args])
        case ConditionFieldEqualsValueExpression():
            found = _of_value(node.field, node.value)
            return [] if found is None else [found]
    return []  # negations and keywords require nothing of any one field


def _any_of(alternatives: Sequence[Sequence[Requirement]]) -> list[Requirement]:
    """What holds whichever alternative does: of each field of which all require something."""
    best = [_by_field(one) for one in alternatives]
    shared = set.intersection(*(set(one) for one in best)) if best else set()
    return [reduce(Requirement.or_, (one[field] for one in best)) for field in sorted(shared)]


def _by_field(requirements: Sequence[Requirement]) -> dict[str, Requirement]:
    """The best requirement of each field."""
    best: dict[str, Requirement] = {}
    for one in requirements:
        if one.field not in best or one.cost < best[one.field].cost:
            best[one.field] = one
    return best


def _of_value(field: str, value: SigmaType) -> Requirement | None:
    match value:
        case SigmaExpansion():
            each = [_of_value(field, one) for one in value.values]
            known = [one for one in each if one is not None]
            return reduce(Requirement.or_, known) if known and len(known) == len(each) else None
        case SigmaRegularExpression():
            literal = regex_literals.required(str(value.regexp))
            if len(literal) >= _SHORTEST and literal.isascii():
                return Requirement(field, contain=frozenset({literal}))
        case SigmaTimestampPart():
            return None  # a kind of number that no value is equal to
        case SigmaNumber() | SigmaBool():
            return Requirement(field, equal=frozenset({str(text(value.to_plain()))}))
        case SigmaString():
            parts = [part.lower() for part in value.s if isinstance(part, str)]
            if not value.s or (len(value.s) == 1 and parts):
                return Requirement(field, equal=frozenset({"".join(parts)}))
            longest = max(parts, key=len, default="")
            if len(longest) >= _SHORTEST:
                return Requirement(field, contain=frozenset({longest}))
    return None
