"""From what pySigma read to what the engine uses."""

from collections.abc import Iterator
from typing import Final

from sigma.correlations import (
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
)
from sigma.rule import SigmaRule

from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma import options
from audit_analysis.sigma.errors import Unsupported
from audit_analysis.sigma.options import Options
from audit_analysis.sigma.rule import SEVERITIES, Detector, Rule
from audit_analysis.windows import WindowSpec
from auditflow.event import LogSource
from auditflow.finding import RuleRef

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
    if parsed.type is not SigmaCorrelationType.EVENT_COUNT:
        raise Unsupported(f"correlations of the type {parsed.type.name.lower()}")
    names = parsed.group_by or []
    own = options.read(parsed, group_by=names)
    timespan = parsed.timespan.seconds
    window = WindowSpec(
        threshold=_threshold(parsed.condition),
        timespan=timespan * 1000,
        dedup=(own.dedup or max(DEDUP_SECONDS, timespan)) * 1000,
        lateness=lateness,
    )
    rule = _rule(parsed, revision, own, window)
    for reference in parsed.rules or []:
        base = reference.rule
        if not isinstance(base, SigmaRule):
            raise Unsupported("correlations of correlations")
        yield Detector(
            rule=rule,
            logsource=_logsource(base),
            matches=compiler.rule(base),
            group_by={name: _field(parsed, name, reference.reference) for name in names},
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
    )


def _threshold(condition: object) -> int:
    if isinstance(condition, SigmaCorrelationCondition) and isinstance(condition.count, int):
        if condition.op is SigmaCorrelationConditionOperator.GTE:
            return condition.count
        if condition.op is SigmaCorrelationConditionOperator.GT:
            return condition.count + 1
    raise Unsupported("event_count conditions other than gte and gt with a whole number")


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
