"""Finds slow rules, reports them, and disables them if a setting says so.

RE2 runs in linear time, but a list of ten thousand wildcards is still expensive. The matcher
measures the time of all rules for an event, which is cheap. If that time exceeds the limit, each
rule is evaluated again alone, measured by the CPU time of this thread.

By default no rule is disabled: otherwise a client that sends expensive events could disable the
rules that detect it. ``strikes`` enables this where the event rate is more important.
"""

import threading
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge

from audit_analysis.sigma.rule import Rule
from auditflow.contract.finding import RuleRef
from auditflow.telemetry import logs

#: Maximum number of slow rules with their own label and state. Others are counted as "others".
MAX_NAMED: Final = 100

log = logs.get(__name__)


class SlowRule(Struct, frozen=True):
    """A slow rule: the number of slow events, and the longest evaluation (milliseconds)."""

    rule: RuleRef
    times: int
    worst_ms: float
    off: bool


class Watchdog:
    """Counts slow rules. ``limit`` is the maximum time of a rule for one event (seconds).

    After ``strikes`` slow events a rule is disabled until it changes or the process restarts. With
    0 rules are never disabled.
    """

    def __init__(self, registry: CollectorRegistry, *, limit: float, strikes: int = 0) -> None:
        self.limit = limit
        self._strikes = strikes
        self._lock = threading.Lock()
        self._slow_rules: dict[tuple[str, str], SlowRule] = {}
        self._slow = Counter(
            "auditflow_analysis_slow_rules_total",
            "Events for which a rule took longer than the limit.",
            ["rule"],
            registry=registry,
        )
        self._off = Gauge(
            "auditflow_analysis_rules_switched_off",
            "Rules that are disabled because they were slow too often.",
            registry=registry,
        )

    def report_slow(self, rule: Rule, seconds: float) -> bool:
        """Record that a rule took ``seconds`` for one event. Returns whether it is now disabled."""
        key = rule.ref.id, rule.ref.revision
        with self._lock:
            known = self._slow_rules.get(key)
            if known is None and len(self._slow_rules) >= MAX_NAMED:
                self._slow.labels("others").inc()
                return False
            times = 1 + (known.times if known else 0)
            worst_ms = max(seconds * 1000, known.worst_ms if known else 0)
            off = 0 < self._strikes <= times
            self._slow_rules[key] = SlowRule(rule.ref, times, round(worst_ms, 3), off)
            self._slow.labels(rule.ref.title).inc()
            self._off.set(sum(slow.off for slow in self._slow_rules.values()))
        if times == 1 or (off and not (known and known.off)):
            log.warning(
                "slow rule",
                rule=rule.ref.title,
                rule_id=rule.ref.id,
                ms=round(worst_ms, 3),
                off=off,
            )
        return off

    def is_off(self, rule: Rule) -> bool:
        """Whether a rule is disabled because it was slow too often."""
        known = self._slow_rules.get((rule.ref.id, rule.ref.revision))
        return known is not None and known.off

    def state(self) -> tuple[SlowRule, ...]:
        """The slow rules, the slowest first."""
        with self._lock:
            return tuple(sorted(self._slow_rules.values(), key=lambda slow: -slow.worst_ms))
