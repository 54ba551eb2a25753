"""Builds detectors from the single-event rules that pySigma parsed."""

from typing import Final

from sigma.correlations import SigmaCorrelationRule
from sigma.rule import SigmaRule
from sigma.rule.attributes import SigmaStatus

from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma import dependencies, options, prefilter
from audit_analysis.sigma.options import Options
from audit_analysis.sigma.rule import SEVERITIES, Detector, Rule
from audit_analysis.windows import WindowSpec
from audit_analysis.windows.spec import pool_of
from auditflow.contract.event import LogSource
from auditflow.contract.finding import RuleRef

#: Default deduplication period: hits of an entity within it are one finding (seconds).
DEDUP_SECONDS: Final = 300


def detector(parsed: SigmaRule, *, revision: str, lateness: int) -> Detector:
    """The detector of a rule about single events. ``lateness`` is in milliseconds.

    With a group-by the rule has a window with the threshold 1.

    Raises:
        Unsupported: the rule uses a feature that this engine does not support.
        ValueError: the rule is invalid. pySigma's errors are subclasses.
    """
    own = options.read(parsed)
    window = None
    if own.group_by:
        dedup = (own.dedup or DEDUP_SECONDS) * 1000
        window = WindowSpec(
            threshold=1,
            timespan=dedup,
            dedup=dedup,
            lateness=lateness,
            pool=pool_of(
                str(parsed.id), kind="event_count", threshold=1, timespan=dedup, dedup=dedup
            ),
            source=parsed.logsource.product or "",
        )
    return Detector(
        rule=rule(parsed, revision, own, window),
        logsource=log_source(parsed),
        matches=compiler.rule(parsed),
        requirements=prefilter.of_rule(parsed),
        dependencies=dependencies.of_rule(parsed),
        group_by={field: field for field in own.group_by},
    )


def rule(
    parsed: SigmaRule | SigmaCorrelationRule,
    revision: str,
    own: Options,
    window: WindowSpec | None,
    *,
    feeds_only: bool = False,
    depth: int = 0,
    counted: str | None = None,
    built_from: tuple[str, ...] = (),
) -> Rule:
    """The rule without its conditions.

    ``depth`` is the number of correlations below it: 0 for a rule of events, 1 for a correlation of
    such rules. ``built_from`` is as in ``Rule``.
    """
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
        feeds_only=feeds_only,
        depth=depth,
        counted=counted,
        built_from=built_from,
    )


def log_source(parsed: SigmaRule) -> LogSource:
    """The log source of a rule."""
    source = parsed.logsource
    return LogSource(product=source.product, service=source.service, category=source.category)
