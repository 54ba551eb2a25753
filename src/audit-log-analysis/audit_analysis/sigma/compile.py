"""Compiles the condition of a rule into one predicate over events."""

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.rule import SigmaDetections, SigmaRule

from audit_analysis.sigma import values
from audit_analysis.sigma.errors import Unsupported
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.values import Predicate


def rule(parsed: SigmaRule) -> Predicate:
    """The predicate that a rule describes. With several conditions, one of them must hold.

    Raises:
        Unsupported: the rule uses a feature that this engine does not support.
        sigma.exceptions.SigmaError: the condition is invalid.
    """
    return detections(parsed.detection)


def detections(parsed: SigmaDetections) -> Predicate:
    """The predicate of the selections and conditions of a rule or an exclusion; see ``rule``."""
    alternatives = [_node(condition.parsed) for condition in parsed.parsed_condition]
    return alternatives[0] if len(alternatives) == 1 else _any(alternatives)


def _node(node: object) -> Predicate:
    match node:
        case ConditionAND():
            return _all([_node(argument) for argument in node.args])
        case ConditionOR():
            return _member_of(node) or _any([_node(argument) for argument in node.args])
        case ConditionNOT():
            inner = _node(node.args[0])
            return lambda view: not inner(view)
        case ConditionFieldEqualsValueExpression():
            return values.predicate(node.field, node.value)
        case ConditionValueExpression():
            return values.keyword(node.value)
    raise Unsupported(f"conditions of the kind {type(node).__name__}")


def _member_of(node: ConditionOR) -> Predicate | None:
    """The predicate for a list of plain texts of one field: a lookup in a set. None otherwise."""
    fields, texts = set(), set()
    for argument in node.args:
        if not isinstance(argument, ConditionFieldEqualsValueExpression):
            return None
        plain = values.plain(argument.value)
        if plain is None:
            return None
        fields.add(argument.field)
        texts.add(plain)
    if len(fields) != 1:
        return None
    field, wanted = fields.pop(), frozenset(texts)
    return lambda view: not wanted.isdisjoint(view.lowered(field))


# Plain loops, because generator expressions would cost more than the predicates.


def _all(parts: list[Predicate]) -> Predicate:
    def every(view: View) -> bool:
        for part in parts:  # noqa: SIM110
            if not part(view):
                return False
        return True

    return every


def _any(parts: list[Predicate]) -> Predicate:
    def some(view: View) -> bool:
        for part in parts:  # noqa: SIM110
            if part(view):
                return True
        return False

    return some
