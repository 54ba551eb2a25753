"""Which fields a rule reads: all that its verdict can depend on."""

from collections.abc import Iterator

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
)
from sigma.rule import SigmaRule
from sigma.types import SigmaExists, SigmaExpansion, SigmaFieldReference, SigmaType


class _Anything(Exception):
    """Not only fields are read."""


def of_rule(parsed: SigmaRule) -> frozenset[str] | None:
    """The fields that a rule reads the values of. None when it reads more (keywords do)."""
    try:
        return frozenset(
            field
            for condition in parsed.detection.parsed_condition
            for field in _of(condition.parsed)
        )
    except _Anything:
        return None


def _of(node: object) -> Iterator[str]:
    match node:
        case ConditionAND() | ConditionOR() | ConditionNOT():
            for one in node.args:
                yield from _of(one)
        case ConditionFieldEqualsValueExpression():
            yield node.field
            yield from _referred(node.value)
        case _:
            raise _Anything


def _referred(value: SigmaType) -> Iterator[str]:
    match value:
        case SigmaExists():
            raise _Anything  # an object has no values, and is there
        case SigmaExpansion():
            for one in value.values:
                yield from _referred(one)
        case SigmaFieldReference():
            yield value.field
