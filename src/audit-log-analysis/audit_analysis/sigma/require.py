"""What an event must have for a rule to match at all: the key by which an index finds the rule.

A requirement is necessary, never sufficient: the predicate still decides. A rule without one is
asked about every event of its log source.
"""

from collections.abc import Iterable
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
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
)

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

    def or_(self, other: "Requirement") -> "Requirement | None":
        """What holds when one of two requirements on the same field does."""
        if self.field != other.field:
            return None
        return Requirement(self.field, self.equal | other.equal, self.contain | other.contain)


def of_rule(parsed: SigmaRule) -> Requirement | None:
    """The best requirement of a rule, or None when it has none."""
    return _any_of([_of(condition.parsed) for condition in parsed.detection.parsed_condition])


def _of(node: object) -> Requirement | None:
    match node:
        case ConditionAND():
            known = [found for one in node.args if (found := _of(one)) is not None]
            return min(known, key=lambda one: one.cost, default=None)
        case ConditionOR():
            return _any_of([_of(one) for one in node.args])
        case ConditionFieldEqualsValueExpression():
            return _of_value(node.field, node.value)
    return None  # negations and keywords require nothing of any one field


def _any_of(requirements: Iterable[Requirement | None]) -> Requirement | None:
    joined: Requirement | None = None
    for number, one in enumerate(requirements):
        if one is None:
            return None
        joined = one if number == 0 else joined and joined.or_(one)
        if joined is None:
            return None
    return joined


def _of_value(field: str, value: SigmaType) -> Requirement | None:
    match value:
        case SigmaExpansion():
            return _any_of([_of_value(field, one) for one in value.values])
        case SigmaTimestampPart():
            return None  # a kind of number that no value is equal to
        case SigmaNumber() | SigmaBool():
            return Requirement(field, equal=frozenset({str(text(value.to_plain()))}))
        case SigmaString():
            literals = [part.lower() for part in value.s if isinstance(part, str)]
            if not value.s or (len(value.s) == 1 and literals):
                return Requirement(field, equal=frozenset({"".join(literals)}))
            longest = max(literals, key=len, default="")
            if len(longest) >= _SHORTEST:
                return Requirement(field, contain=frozenset({longest}))
    return None
