"""From what pySigma read to what the engine uses."""

from collections.abc import Iterator, Mapping
from typing import Final

from sigma.correlations import (
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
)
from sigma.rule import SigmaRule
from sigma.rule.attributes import SigmaStatus

from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma import options, reads, require
from audit_analysis.sigma.errors import Unsupported
from audit_analysis.sigma.options import Options
from audit_analysis.sigma.rule import SEVERITIES, Detector, Rule
from audit_analysis.windows import WindowSpec
from audit_analysis.windows.spec import Kind
from auditflow.event import LogSource
from auditflow.finding import RuleRef

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
        requirements=require.of_rule(parsed),
        reads=reads.of_rule(parsed),
        group_by={field: field for field in own.group_by},
    )


def correlation(
    parsed: SigmaCorrelationRule, *, revision: str, lateness: int
) -> Iterator[Detector]:
    """A correlation whose references are resolved: one detector for each rule that feeds it.

    Raises:
        Unsupported: something that this engine does not do.
        ValueError: something is wrong (pySigma's errors are of this kind too).
    """
    kind = _KINDS.get(parsed.type)
    if kind is None:
        raise Unsupported(f"correlations of the type {parsed.type.name.lower()}")
    bases = parsed.rules or []
    names = parsed.group_by or []
    own = options.read(parsed, group_by=names)
    timespan = parsed.timespan.seconds
    window = WindowSpec(
        kind=kind,
        threshold=_threshold(parsed.condition, kind, parts=len(bases)),
        timespan=timespan * 1000,
        dedup=(own.dedup or max(DEDUP_SECONDS, timespan)) * 1000,
        lateness=lateness,
    )
    rule = _rule(parsed, revision, own, window)
    temporal = kind.startswith("temporal")
    for number, reference in enumerate(bases, start=1):
        base = reference.rule
        if not isinstance(base, SigmaRule):
            raise Unsupported("correlations of correlations")
        yield Detector(
            rule=rule,
            logsource=_logsource(base),
            matches=compiler.rule(base),
            requirements=require.of_rule(base),
            reads=reads.of_rule(base),
            group_by={name: _field(parsed, name, reference.reference) for name in names},
            stage=str(number) if temporal else "",
            counted=_counted(parsed.condition) if kind == "value_count" else None,
        )


def _rule(
    parsed: SigmaRule | SigmaCorrelationRule, revision: str, own: Options, window: WindowSpec | None
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
    )


def _threshold(condition: object, kind: Kind, *, parts: int) -> int:
    """How many events, values or rules make a hit. Temporal ones want all of their rules."""
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


def _counted(condition: object) -> str:
    """The field whose values a value_count counts."""
    field = condition.fieldref if isinstance(condition, SigmaCorrelationCondition) else None
    if not isinstance(field, str):
        raise Unsupported("value_count of several fields together")
    return field


def _field(parsed: SigmaCorrelationRule, name: str, reference: str) -> str:
    """The field that stands behind a name of the group-by in the events of one rule."""
    for alias in parsed.aliases:
        if alias.alias == name:
            for base, field in alias.mapping.items():
                if base.reference == reference:
                    return field
    return name


def _logsource(parsed: SigmaRule) -> LogSource:
    said = parsed.logsource
    return LogSource(product=said.product, service=said.service, category=said.category)
