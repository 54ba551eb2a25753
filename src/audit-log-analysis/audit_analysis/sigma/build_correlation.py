"""Builds windows, detectors and links from the correlations that pySigma parsed."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionOR,
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)
from sigma.rule.attributes import SigmaStatus

from audit_analysis.sigma import (
    build_rule,
    correlation_graph,
    dependencies,
    limits,
    options,
    prefilter,
)
from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma.build_rule import DEDUP_SECONDS
from audit_analysis.sigma.errors import Unsupported
from audit_analysis.sigma.rule import Detector, Link, Rule
from audit_analysis.windows import WindowSpec
from audit_analysis.windows.spec import Kind, pool_of

#: The kind of window for each correlation type of Sigma. Other types are not supported.
_KINDS: Final[Mapping[SigmaCorrelationType, Kind]] = {
    SigmaCorrelationType.EVENT_COUNT: "event_count",
    SigmaCorrelationType.VALUE_COUNT: "value_count",
    SigmaCorrelationType.TEMPORAL: "temporal",
    SigmaCorrelationType.TEMPORAL_ORDERED: "temporal_ordered",
}


class Correlation(Struct, frozen=True):
    """A correlation and its inputs.

    ``detectors`` are its inputs from events; ``links`` are its inputs from inner correlations, each
    with the id of the inner correlation.
    """

    rule: Rule
    detectors: tuple[Detector, ...]
    links: tuple[tuple[str, Link], ...]


def correlation(
    parsed: SigmaCorrelationRule,
    *,
    revision: str,
    lateness: int,
    inner: Mapping[str, Rule],
    feeds: bool,
    built_from: tuple[str, ...],
) -> Correlation:
    """Build a correlation whose references are resolved. ``lateness`` is in milliseconds.

    ``inner`` are the correlations that were built before, by their ids. ``feeds`` states whether
    another correlation depends on this one. ``built_from`` is as in ``Rule``.

    Raises:
        Unsupported: the rule uses a feature that this engine does not support.
        ValueError: the rule is invalid. pySigma's errors are subclasses.
    """
    kind = _KINDS.get(parsed.type)
    if kind is None:
        raise Unsupported(f"correlations of the type {parsed.type.name.lower()}")
    _check_aliases(parsed)
    names = parsed.group_by or []
    references = parsed.referenced_rules
    inner_rules = [inner[rule_id] for rule_id in correlation_graph.inner_correlations(parsed)]
    # An event_count of correlations counts their findings, not the events in the findings.
    count_each = bool(inner_rules) and kind == "event_count"
    own = options.read(parsed, group_by=names)
    window_kind: Kind = "value_count" if count_each else kind
    threshold = _threshold(parsed.condition, kind, number_of_rules=len(references))
    timespan = parsed.timespan.seconds * 1000
    dedup = own.dedup * 1000 if own.dedup else max(DEDUP_SECONDS * 1000, timespan)
    window = WindowSpec(
        kind=window_kind,
        threshold=threshold,
        timespan=timespan,
        dedup=dedup,
        lateness=lateness,
        feeds=feeds,
        counts_hits=bool(inner_rules),
        reports=parsed._output and parsed.status is not SigmaStatus.EXPERIMENTAL,
        pool=pool_of(
            str(parsed.id), kind=window_kind, threshold=threshold, timespan=timespan, dedup=dedup
        ),
        source=_source(parsed),
    )
    counted = _counted_field(parsed.condition) if kind == "value_count" else None
    rule = build_rule.rule(
        parsed,
        revision,
        own,
        window,
        feeds_only=not parsed._output,
        depth=1 + max((inner_rule.depth for inner_rule in inner_rules), default=-1),
        counted=counted,
        built_from=built_from,
    )
    detectors, links = [], []
    for number, reference in enumerate(references, start=1):
        base = reference.rule
        group_by = {name: _field(parsed, name, reference) for name in names}
        stage = str(number) if kind.startswith("temporal") else ""
        if isinstance(base, SigmaCorrelationRule):
            _check_inner_fields(base, reference, [*group_by.values(), *filter(None, [counted])])
            link = Link(rule=rule, group_by=group_by, stage=stage, counted=counted)
            links.append((str(base.id), link))
            continue
        try:
            matches = compiler.rule(base)
        except Unsupported as error:
            raise Unsupported(f"its rule {base.title!r}: {error}") from None
        except ValueError as error:
            raise ValueError(f"its rule {base.title!r} has a fault: {error}") from None
        detectors.append(
            Detector(
                rule=rule,
                logsource=build_rule.log_source(base),
                matches=matches,
                requirements=prefilter.of_rule(base),
                dependencies=dependencies.of_rule(base),
                group_by=group_by,
                stage=stage,
                counted=counted,
                count_each=count_each,
                is_global=not names,
            )
        )
    return Correlation(rule, tuple(detectors), tuple(links))


def _threshold(condition: object, kind: Kind, *, number_of_rules: int) -> int:
    """The number of events, values or rules that make a hit. Temporal ones need all their rules.

    Conditions that one more event could make false are not supported, because their result would
    depend on the order of arrival.
    """
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        return _threshold_of_expression(condition, kind, number_of_rules)
    if isinstance(condition, SigmaCorrelationCondition) and isinstance(condition.count, int):
        added = {SigmaCorrelationConditionOperator.GTE: 0, SigmaCorrelationConditionOperator.GT: 1}
        if condition.op in added:
            threshold = condition.count + added[condition.op]
            if not 0 < threshold <= limits.MAX_THRESHOLD:
                raise ValueError(f"the threshold must be 1 to {limits.MAX_THRESHOLD:,}")
            if kind == "temporal_ordered" and threshold != number_of_rules:
                raise Unsupported("temporal_ordered conditions that do not require all their rules")
            if kind == "temporal" and threshold > number_of_rules:
                raise ValueError(f"{threshold} of {number_of_rules} rules can never match")
            return threshold
    raise Unsupported(f"{kind} conditions other than gte and gt with a whole number")


def _threshold_of_expression(
    condition: SigmaExtendedCorrelationCondition, kind: Kind, number_of_rules: int
) -> int:
    """`a and b and c` requires all rules, `a or b or c` requires one."""
    node = condition.parsed
    is_flat = isinstance(node, SigmaRuleReference) or all(
        isinstance(argument, SigmaRuleReference) for argument in node.args
    )
    if is_flat and isinstance(node, (SigmaRuleReference, CorrelationConditionAND)):
        return number_of_rules
    if is_flat and isinstance(node, CorrelationConditionOR) and kind == "temporal":
        return 1
    raise Unsupported(f"{kind} conditions other than all rules with `and`, or any with `or`")


def _counted_field(condition: object) -> str:
    """The field whose values a value_count counts."""
    field = condition.fieldref if isinstance(condition, SigmaCorrelationCondition) else None
    if not isinstance(field, str):
        raise Unsupported("value_count of several fields together")
    return field


def _field(parsed: SigmaCorrelationRule, name: str, reference: SigmaRuleReference) -> str:
    """The field of one rule's events or findings that a name of the group-by stands for."""
    for alias in parsed.aliases:
        if alias.alias == name:
            for base, field in alias.mapping.items():
                if base.reference in _names(reference):
                    return str(field)
    return name


def _source(parsed: SigmaCorrelationRule) -> str:
    """The product of the first rule with a product, at any level."""
    for reference in parsed.referenced_rules:
        rule = reference.rule
        if isinstance(rule, SigmaCorrelationRule):
            product: str | None = _source(rule)
        else:
            product = rule.logsource.product
        if product:
            return product
    return ""


def _check_inner_fields(
    inner: SigmaCorrelationRule, reference: SigmaRuleReference, names: Sequence[str]
) -> None:
    """Findings of a correlation have only the fields that it groups by."""
    known = inner.group_by or []
    for name in names:
        if name not in known:
            raise ValueError(
                f"{name} is not a group-by field of the correlation {reference.reference} "
                f"(its fields: {', '.join(known) or 'none'}), so its findings do not have it"
            )


def _check_aliases(parsed: SigmaCorrelationRule) -> None:
    known = {name for reference in parsed.referenced_rules for name in _names(reference)}
    for alias in parsed.aliases:
        for base in alias.mapping:
            if base.reference not in known:
                raise ValueError(
                    f"aliases.{alias.alias}: {base.reference} is not a rule of this correlation"
                )


def _names(reference: SigmaRuleReference) -> tuple[str, ...]:
    """The texts by which a correlation can refer to a rule."""
    return reference.reference, str(reference.rule.name), str(reference.rule.id)
