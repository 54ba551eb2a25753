"""A rule as the engine uses it, and the set of all."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Final, Protocol

from msgspec import Struct

from audit_analysis.sigma import logsource
from audit_analysis.sigma.errors import RuleFault
from audit_analysis.sigma.fields import View, text
from audit_analysis.sigma.matcher import Matcher, Question
from audit_analysis.sigma.prefilter import Requirement
from audit_analysis.sigma.values import Predicate
from audit_analysis.sigma.verdict_cache import Memory
from audit_analysis.windows import WindowSpec
from auditflow.contract.event import Event, LogSource, Severity
from auditflow.contract.finding import RuleRef

#: Sigma's levels as the severities of findings.
SEVERITIES: Final[Mapping[str, Severity]] = {
    "informational": Severity.INFO,
    "low": Severity.INFO,
    "medium": Severity.WARNING,
    "high": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
}
#: Log sources whose rules are remembered.
_SOURCES: Final = 1000


class Rule(Struct, frozen=True, kw_only=True):
    """What a rule says of the events that match it.

    ``window`` is None for a rule about single events. ``sentence`` is a template over the entity's
    fields, ``count`` and ``timespan``. A ``staged`` rule (status: experimental) is counted, and
    makes no findings; a ``silent`` one makes none either, for it is there to feed others. ``depth``
    is how many correlations stand below it in a chain.
    """

    ref: RuleRef
    severity: Severity
    sentence: str
    window: WindowSpec | None = None
    staged: bool = False
    silent: bool = False
    depth: int = 0

    @property
    def idle(self) -> bool:
        """Whether it is enough to count its matches."""
        return self.staged and not (self.window and self.window.feeds)


class Link(Struct, frozen=True, kw_only=True):
    """What the hits of one rule are to another, ``rule``, that correlates them.

    ``group_by`` maps names of its entity to names of the first rule's entity. ``stage`` and
    ``counted`` as in ``Detector``; without both, it counts how many findings the hits belong to.
    """

    rule: Rule
    group_by: Mapping[str, str]
    stage: str = ""
    counted: str | None = None


class Detector(Struct, frozen=True, kw_only=True):
    """One way to come to a rule: a predicate over the events of a log source.

    ``group_by`` maps names of the entity to fields of these events. ``stage`` is the part that they
    play in a temporal correlation ("1", "2", ...), ``counted`` the field whose values are counted,
    ``apart`` that each event is a value of its own. A ``pooled`` one is about everybody together.
    Each of ``requirements`` must hold for ``matches`` to be worth asking, and ``reads`` are the
    fields on which its answer depends (None: on anything).
    """

    rule: Rule
    logsource: LogSource
    matches: Predicate
    group_by: Mapping[str, str]
    stage: str = ""
    counted: str | None = None
    apart: bool = False
    pooled: bool = False
    requirements: tuple[Requirement, ...] = ()
    reads: frozenset[str] | None = None

    def entity(self, view: View) -> dict[str, str] | None:
        """Whom the event is about. None when it lacks a field that the rule groups by."""
        if self.pooled:
            return {}
        if not self.group_by:
            return _actor(view.event) or {"event_id": view.event.event_id}
        found = _values(view, self.group_by.values())
        if len(found) < len(set(self.group_by.values())):
            return None
        return {name: found[field] for name, field in self.group_by.items()}

    def tags(self, view: View) -> tuple[str, ...]:
        """What the event is to a window: its stage, or the values that are counted."""
        if self.apart:
            return (view.event.event_id,)
        if self.counted is None:
            return (self.stage,)
        return tuple(dict.fromkeys(one for one in map(text, view.values(self.counted)) if one))


class Watch(Protocol):
    """Is told of rules that are slow; see watchdog.py. ``bound`` is in seconds."""

    bound: float

    def slow(self, rule: Rule, seconds: float) -> bool:
        """A rule took this long for one event. Returns whether it is off from now on."""
        ...

    def is_off(self, rule: Rule) -> bool:
        """Whether nobody should ask this rule any more."""
        ...


class RuleSet:
    """All rules. An event meets only those of its log source that could match it.

    ``links`` are, by the id of a rule, those that correlate its hits. ``refused`` are the faults of
    foreign rules that were left out.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        *,
        links: Mapping[str, Sequence[Link]] = MappingProxyType({}),
        refused: Sequence[RuleFault] = (),
        watch: Watch | None = None,
    ) -> None:
        self._detectors = tuple(detectors)
        self._watch = watch
        self._links = links
        self.refused = tuple(refused)
        self._memory: Memory[tuple[int, ...]] = Memory()
        self._by_source: dict[LogSource, Matcher[Detector]] = {}
        self._own: dict[str, Matcher[Detector]] = {}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule once, without those that only feed others."""
        known = [one.rule for one in self._detectors]
        known += [link.rule for links in self._links.values() for link in links]
        return tuple({one.ref.id: one for one in known if not one.silent}.values())

    def fed_by(self, rule: Rule) -> Sequence[Link]:
        """The rules that correlate the hits of another, and what its hits are to them."""
        return self._links.get(rule.ref.id, ())

    def match(self, view: View) -> Sequence[Detector]:
        """The detectors that an event matches."""
        event = view.event
        matcher = self._own.get(event.event_type) if event.logsource is None else None
        if matcher is None:
            matcher = self._matcher(logsource.of_event(event))
            if event.logsource is None and event.event_type in logsource.categories():
                self._own[event.event_type] = matcher
        return matcher.match(view)

    def _matcher(self, source: LogSource) -> Matcher[Detector]:
        """The rules of a log source. What cannot be met by it is not even among them."""
        matcher = self._by_source.get(source)
        if matcher is None:
            matcher = Matcher(
                [
                    Question(one, one.matches, one.requirements, one.reads)
                    for one in self._detectors
                    if logsource.concerns(one.logsource, source) and not self._is_off(one)
                ],
                memory=self._memory,
                bound=self._watch.bound if self._watch else inf,
                slow=self._slow,
            )
            # Sources name themselves, so what is remembered of them must have an end.
            if len(self._by_source) < _SOURCES:
                self._by_source[source] = matcher
        return matcher

    def _is_off(self, detector: Detector) -> bool:
        return self._watch is not None and self._watch.is_off(detector.rule)

    def _slow(self, detector: Detector, seconds: float) -> None:
        if self._watch is not None and self._watch.slow(detector.rule, seconds):
            # Whatever was said of it is forgotten: the next event finds matchers without it.
            self._by_source.clear()
            self._own.clear()


def _actor(event: Event) -> dict[str, str]:
    """Whom a finding is about when its rule has no group-by: the event's own user and host.

    Not by the view, for a source's record may have fields of these names that mean something else.
    """
    own = {"user_id": event.user_id, "server_hostname": event.server_hostname}
    return {name: value for name, value in own.items() if value}


def _values(view: View, fields: Iterable[str]) -> dict[str, str]:
    found = {}
    for field in fields:
        values = [one for one in map(text, view.values(field)) if one]
        if values:
            found[field] = values[0]
    return found
