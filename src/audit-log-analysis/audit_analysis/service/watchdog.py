"""Watches what rules cost: names the slow ones, and switches them off where that is wanted.

A regular expression of RE2 cannot explode, but a list of ten thousand wildcards can cost. Only the
time of all rules that an event met is taken, which costs nothing; when that was too long, each rule
is asked once more, by a clock that runs only while this thread does.

By itself nothing is switched off: whoever can send events could then switch off what would notice
them. Where the flow of events matters more, ``strikes`` says how often a rule may be slow.
"""

import threading
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge

from audit_analysis.sigma.rule import Rule
from auditflow.contract.finding import RuleRef
from auditflow.telemetry import logs

#: Rules that get a label and a line of their own; all others are "others".
NAMED: Final = 100

log = logs.get(__name__)


class Slow(Struct, frozen=True):
    """A rule that was slow: how often, and what it cost at worst (milliseconds)."""

    rule: RuleRef
    times: int
    worst_ms: float
    off: bool


class Watchdog:
    """Counts slow rules. ``bound`` is what a rule may cost an event (seconds).

    After ``strikes`` slow events a rule is off, until it changes or the process starts again; with
    0 never.
    """

    def __init__(self, registry: CollectorRegistry, *, bound: float, strikes: int = 0) -> None:
        self.bound = bound
        self._strikes = strikes
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Slow] = {}
        self._slow = Counter(
            "auditflow_analysis_slow_rules_total",
            "Events of which a rule cost more than the bound.",
            ["rule"],
            registry=registry,
        )
        self._off = Gauge(
            "auditflow_analysis_rules_switched_off",
            "Rules that are off because they were slow too often.",
            registry=registry,
        )

    def slow(self, rule: Rule, seconds: float) -> bool:
        """A rule took this long for one event. Returns whether it is off from now on."""
        key = rule.ref.id, rule.ref.revision
        with self._lock:
            known = self._known.get(key)
            if known is None and len(self._known) >= NAMED:
                self._slow.labels("others").inc()
                return False
            times = 1 + (known.times if known else 0)
            worst = max(seconds * 1000, known.worst_ms if known else 0)
            off = 0 < self._strikes <= times
            self._known[key] = Slow(rule.ref, times, round(worst, 3), off)
            self._slow.labels(rule.ref.title).inc()
            self._off.set(sum(one.off for one in self._known.values()))
        if times == 1 or (off and not (known and known.off)):
            log.warning(
                "slow rule", rule=rule.ref.title, rule_id=rule.ref.id, ms=round(worst, 3), off=off
            )
        return off

    def is_off(self, rule: Rule) -> bool:
        """Whether a rule was slow too often."""
        known = self._known.get((rule.ref.id, rule.ref.revision))
        return known is not None and known.off

    def state(self) -> tuple[Slow, ...]:
        """The rules that were slow, the slowest first."""
        with self._lock:
            return tuple(sorted(self._known.values(), key=lambda one: -one.worst_ms))
