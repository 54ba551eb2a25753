"""From what pySigma read to what the engine uses."""

from collections.abc import Mapping
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
from sigma.rule import SigmaRule
from sigma.rule.attributes import SigmaStatus

from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma import correlation_graph, dependencies, options, prefilter
from audit_analysis.sigma.errors import Unsupported
from audit_analysis.sigma.options import Options
from audit_analysis.sigma.rule import SEVERITIES, Detector, Link, Rule
from audit_analysis.windows import WindowSpec
from audit_analysis.windows.spec import Kind
from auditflow.contract.event import LogSource
from auditflow.contract.finding import RuleRef

_KINDS: Final[Mapping[SigmaCorrelationType, Kind]] = {
    SigmaCorrelationType.EVENT_COUNT: "event_count",
    SigmaCorrelationType.VALUE_COUNT: "value_count",
    SigmaCorrelationType.TEMPORAL: "temporal",
    SigmaCorrelationType.TEMPORAL_ORDERED: "temporal_ordered",
}
#: What a rule sees of an entity within this time is one finding, if its timespan is not longer.
DEDUP_SECONDS: Final = 300


def single(parsed: SigmaRule, *, revision: str, lateness: int) -> Detector:
    """A rule about single events. With a group-by it is a window that one event fills.

    Raises:
        Unsupported: something that this engine does not do.
        ValueError: something is wrong (pySigma's errors are of this kind too).
    """
    own = options.read(parsed)
    window = None
    if own.group_by:
        dedup = (own.dedup or DEDUP_SECONDS) * 1000
        window = WindowSpec(threshold=1, timespan=dedup, dedup=dedup, lateness=lateness)
    return Detector(
        rule=_rule(parsed, revision, own, window),
        logsource=_logsource(parsed),
        matches=compiler.rule(parsed),
        requirements=prefilter.of_rule(parsed),
        reads=dependencies.of_rule(parsed),
        group_by={field: field for field in own.group_by},
    )


class Correlation(Struct, frozen=True):
    """A correlation that was built, and what feeds it: events, and (by their ids) other rules."""

    rule: Rule
    detectors: tuple[Detector, ...]
    links: tuple[tuple[str, Link], ...]


def correlation(
    parsed: SigmaCorrelationRule,
    *,
    revision: str,
    lateness: int,
    below: Mapping[str, Rule],
    feeds: bool,
) -> Correlation:
    """A correlation whose references are resolved.

    ``below`` are the correlations that it may rest on, built before it, by their ids; ``feeds``
    says that others rest on it.

    Raises:
        Unsupported: something that this engine does not do.
        ValueError: something is wrong (pySigma's errors are of this kind too).
    """
    kind = _KINDS.get(parsed.type)
    if kind is None:
        raise Unsupported(f"correlations of the type {parsed.type.name.lower()}")
    names = parsed.group_by or []
    parts = parsed.referenced_rules
    _check_aliases(parsed)
    chained = [below[name] for name in correlation_graph.below(parsed)]
    # Of findings it is not the events in them that are counted, but how many findings there are.
    apart = bool(chained) and kind == "event_count"
    own = options.read(parsed, group_by=names)
    timespan = parsed.timespan.seconds
    window = WindowSpec(
        kind="value_count" if apart else kind,
        threshold=_threshold(parsed.condition, kind, parts=len(parts)),
        timespan=timespan * 1000,
        dedup=(own.dedup or max(DEDUP_SECONDS, timespan)) * 1000,
        lateness=lateness,
        feeds=feeds,
        reports=parsed._output and parsed.status is not SigmaStatus.EXPERIMENTAL,
    )
    depth = 1 + max((one.depth for one in chained), default=-1)
    rule = _rule(parsed, revision, own, window, silent=not parsed._output, depth=depth)
    counted = _counted(parsed.condition) if kind == "value_count" else None
    detectors, links = [], []
    for number, reference in enumerate(parts, start=1):
        base = reference.rule
        group_by = {name: _field(parsed, name, reference) for name in names}
        stage = str(number) if kind.startswith("temporal") else ""
        if isinstance(base, SigmaCorrelationRule):
            known = base.group_by or []
            for name in (*group_by.values(), *([counted] if counted else ())):
                if name not in known:
                    raise ValueError(
                        f"{name} is no field that the correlation {reference.reference} groups by "
                        f"({', '.join(known) or 'there are none'}), so its findings do not have it"
                    )
            link = Link(rule=rule, group_by=group_by, stage=stage, counted=counted)
            links.append((str(base.id), link))
            continue
        detectors.append(
            Detector(
                rule=rule,
                logsource=_logsource(base),
                matches=compiler.rule(base),
                requirements=prefilter.of_rule(base),
                reads=dependencies.of_rule(base),
                group_by=group_by,
                stage=stage,
                counted=counted,
                apart=apart,
                pooled=not names,
            )
        )
    return Correlation(rule, tuple(detectors), tuple(links))


def _rule(
    parsed: SigmaRule | SigmaCorrelationRule,
    revision: str,
    own: Options,
    window: WindowSpec | None,
    *,
    silent: bool = False,
    depth: int = 0,
) -> Rule:
    level = parsed.level.name.lower() if parsed.level else "medium"
    return Rule(
        ref=RuleRef(
            id=str(parsed.id),
            title=parsed.title,
            revision=revision,
            level=level,
            tags=tuple(str(tag) for tag in parsed.tags),
            runbook=own.runbook,
        ),
        severity=SEVERITIES[level],
        sentence=own.sentence,
        window=window,
        staged=parsed.status is SigmaStatus.EXPERIMENTAL,
        silent=silent,
        depth=depth,
    )


def _threshold(condition: object, kind: Kind, *, parts: int) -> int:
    """How many events, values or rules make a hit. Temporal ones want all of their rules.

    Conditions that more events could make untrue would depend on the order of arrival.
    """
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        return _of_expression(condition, kind, parts)
    if isinstance(condition, SigmaCorrelationCondition) and isinstance(condition.count, int):
        more = {SigmaCorrelationConditionOperator.GTE: 0, SigmaCorrelationConditionOperator.GT: 1}
        if condition.op in more:
            threshold = condition.count + more[condition.op]
            if kind == "temporal_ordered" and threshold != parts:
                raise Unsupported("temporal_ordered conditions that do not want all of their rules")
            if kind == "temporal" and threshold > parts:
                raise ValueError(f"{threshold} of {parts} rules can never happen")
            return threshold
    raise Unsupported(f"{kind} conditions other than gte and gt with a whole number")


def _of_expression(condition: SigmaExtendedCorrelationCondition, kind: Kind, parts: int) -> int:
    """`a and b and c` are all of the rules, `a or b or c` one of them."""
    node = condition.parsed
    plain = isinstance(node, SigmaRuleReference) or all(
        isinstance(one, SigmaRuleReference) for one in node.args
    )
    if plain and isinstance(node, (SigmaRuleReference, CorrelationConditionAND)):
        return parts
    if plain and isinstance(node, CorrelationConditionOR) and kind == "temporal":
        return 1
    raise Unsupported(f"{kind} conditions other than all rules with `and`, or any with `or`")


def _counted(condition: object) -> str:
    """The field whose values a value_count counts."""
    field = condition.fieldref if isinstance(condition, SigmaCorrelationCondition) else None
    if not isinstance(field, str):
        raise Unsupported("value_count of several fields together")
    return field


def _field(parsed: SigmaCorrelationRule, name: str, reference: SigmaRuleReference) -> str:
    """The field behind a name of the group-by, in the events or findings of one rule."""
    for alias in parsed.aliases:
        if alias.alias == name:
            for base, field in alias.mapping.items():
                if base.reference in _names(reference):
                    return str(field)
    return name


def _check_aliases(parsed: SigmaCorrelationRule) -> None:
    known = {name for reference in parsed.referenced_rules for name in _names(reference)}
    for alias in parsed.aliases:
        for base in alias.mapping:
            if base.reference not in known:
                raise ValueError(
                    f"aliases.{alias.alias}: {base.reference} is none of the rules here"
                )


def _names(reference: SigmaRuleReference) -> tuple[str, ...]:
    """By what a rule may be called."""
    return reference.reference, str(reference.rule.name), str(reference.rule.id)


def _logsource(parsed: SigmaRule) -> LogSource:
    said = parsed.logsource
    return LogSource(product=said.product, service=said.service, category=said.category)
