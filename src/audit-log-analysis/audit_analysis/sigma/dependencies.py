"""Which fields the result of a rule depends on."""

from collections.abc import Iterator

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
)
from sigma.rule import SigmaRule
from sigma.types import SigmaExists, SigmaExpansion, SigmaFieldReference, SigmaType


class _DependsOnWholeEvent(Exception):
    """The result depends on more than the values of some fields."""


def of_rule(parsed: SigmaRule) -> frozenset[str] | None:
    """The fields that a rule reads. None if it depends on the whole event, as keywords do."""
    try:
        return frozenset(
            field
            for condition in parsed.detection.parsed_condition
            for field in _of_condition(condition.parsed)
        )
    except _DependsOnWholeEvent:
        return None


def _of_condition(node: object) -> Iterator[str]:
    match node:
        case ConditionAND() | ConditionOR() | ConditionNOT():
            for argument in node.args:
                yield from _of_condition(argument)
        case ConditionFieldEqualsValueExpression():
            yield node.field
            yield from _of_value(node.value)
        case _:
            raise _DependsOnWholeEvent


def _of_value(value: SigmaType) -> Iterator[str]:
    match value:
        case SigmaExists():
            raise _DependsOnWholeEvent  # A field that is an object exists but has no values.
        case SigmaExpansion():
            for alternative in value.values:
                yield from _of_value(alternative)
        case SigmaFieldReference():
            yield value.field
