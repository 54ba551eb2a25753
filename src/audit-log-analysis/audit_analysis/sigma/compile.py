"""A rule's condition, compiled once into one predicate over events."""

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.rule import SigmaRule

from audit_analysis.sigma import values
from audit_analysis.sigma.errors import Unsupported
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.values import Predicate


def rule(parsed: SigmaRule) -> Predicate:
    """Whether an event is what the rule describes. Several conditions: any of them.

    Raises:
        Unsupported: something that this engine does not do, by name.
        sigma.exceptions.SigmaError: the condition is wrong.
    """
    either = [_node(condition.parsed) for condition in parsed.detection.parsed_condition]
    return either[0] if len(either) == 1 else _any(either)


def _node(node: object) -> Predicate:
    match node:
        case ConditionAND():
            return _all([_node(one) for one in node.args])
        case ConditionOR():
            return _one_of(node) or _any([_node(one) for one in node.args])
        case ConditionNOT():
            inner = _node(node.args[0])
            return lambda view: not inner(view)
        case ConditionFieldEqualsValueExpression():
            return values.predicate(node.field, node.value)
        case ConditionValueExpression():
            return values.keyword(node.value)
    raise Unsupported(f"conditions of the kind {type(node).__name__}")


def _one_of(node: ConditionOR) -> Predicate | None:
    """A list of plain texts for one field is one look into a set."""
    fields, texts = set(), set()
    for one in node.args:
        if not isinstance(one, ConditionFieldEqualsValueExpression):
            return None
        plain = values.plain(one.value)
        if plain is None:
            return None
        fields.add(one.field)
        texts.add(plain)
    if len(fields) != 1:
        return None
    field, wanted = fields.pop(), frozenset(texts)
    return lambda view: not wanted.isdisjoint(view.lowered(field))


# Plain loops: a generator for each of them would cost more than what they ask.


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
