"""Rules in the form that the engine uses, and the set of all rules."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Final, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from audit_analysis.sigma import logsource
from audit_analysis.sigma.errors import RuleFault
from audit_analysis.sigma.fields import View, text
from audit_analysis.sigma.matcher import Entry, Matcher
from audit_analysis.sigma.prefilter import Requirement
from audit_analysis.sigma.values import Predicate
from audit_analysis.sigma.verdict_cache import VerdictCache
from audit_analysis.windows import WindowSpec
from auditflow.contract.event import Event, LogSource, Severity
from auditflow.contract.finding import RuleRef

#: The severity of findings for each level of Sigma.
SEVERITIES: Final[Mapping[str, Severity]] = {
    "informational": Severity.INFO,
    "low": Severity.INFO,
    "medium": Severity.WARNING,
    "high": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
}
#: Maximum number of log sources with a cached matcher.
_MAX_SOURCES: Final = 1000


class Rule(Struct, frozen=True, kw_only=True):
    """A rule, as far as it concerns events that match it.

    ``window`` is None for a rule about single events. ``sentence`` is a template over the fields of
    the entity, ``count`` and ``timespan``. A ``staged`` rule (status: experimental) makes no
    findings; its matches are counted. A ``feeds_only`` rule makes no findings because it only feeds
    correlations. ``depth`` is the number of levels of correlations below this rule. ``counted`` is
    the field whose values a value_count counts. ``built_from`` are the revisions of the rules to
    which a correlation refers, at all levels.
    """

    ref: RuleRef
    severity: Severity
    sentence: str
    window: WindowSpec | None = None
    staged: bool = False
    feeds_only: bool = False
    depth: int = 0
    counted: str | None = None
    built_from: tuple[str, ...] = ()

    @property
    def count_only(self) -> bool:
        """Whether matches are only counted: no finding and no other rule needs them."""
        return self.staged and not (self.window and self.window.feeds)


class Link(Struct, frozen=True, kw_only=True):
    """Connects the hits of an inner rule to the correlation ``rule`` that counts them.

    ``group_by`` maps the names of the outer entity to names of the inner entity. ``stage`` and
    ``counted`` are as in ``Detector``. If both are empty, the outer rule counts the different
    findings of the hits.
    """

    rule: Rule
    group_by: Mapping[str, str]
    stage: str = ""
    counted: str | None = None


class Detector(Struct, frozen=True, kw_only=True):
    """A predicate over the events of a log source, and the rule that it belongs to.

    ``group_by`` maps the names of the entity to fields of the events. ``stage`` is the position of
    the events in a temporal correlation ("1", "2", ...). ``counted`` is the field whose values are
    counted. With ``count_each`` each event is a value of its own. With ``is_global`` all events
    have the same entity. ``requirements`` and ``dependencies`` are as in ``matcher.Entry``.
    """

    rule: Rule
    logsource: LogSource
    matches: Predicate
    group_by: Mapping[str, str]
    stage: str = ""
    counted: str | None = None
    count_each: bool = False
    is_global: bool = False
    requirements: tuple[Requirement, ...] = ()
    dependencies: frozenset[str] | None = None

    def entity(self, view: View) -> dict[str, str] | None:
        """The entity of an event. None if the event lacks a field of the group-by."""
        if self.is_global:
            return {}
        if not self.group_by:
            return _default_entity(view.event) or {"event_id": view.event.event_id}
        entity: dict[str, str] = {}
        for name, field in self.group_by.items():
            found = view.values(field)
            # The most frequent case: each field has one text.
            if not found or found[0].__class__ is not str or not found[0]:
                break
            entity[name] = found[0]
        else:
            return entity
        values = _first_values(view, self.group_by.values())
        if len(values) < len(set(self.group_by.values())):
            return None
        return {name: values[field] for name, field in self.group_by.items()}

    def tags(self, view: View) -> tuple[str, ...]:
        """The tags of an event in the window: its stage, or its counted values."""
        if self.count_each:
            return (view.event.event_id,)
        if self.counted is None:
            return (self.stage,)
        values = map(text, view.values(self.counted))
        return tuple(dict.fromkeys(value for value in values if value))


class RuleWatchdog(Protocol):
    """Receives slow rules; see service/watchdog.py. ``limit`` is in seconds."""

    limit: float

    def report_slow(self, rule: Rule, seconds: float) -> bool:
        """Record that a rule took ``seconds`` for one event. Returns whether it is now disabled."""
        ...

    def is_off(self, rule: Rule) -> bool:
        """Whether a rule is disabled because it was slow too often."""
        ...


class RuleSet:
    """All rules. An event is evaluated only against rules of its log source that could match it.

    ``links`` are the correlations that count the hits of a rule, by the id of that rule.
    ``refused`` are the faults of rules that were not loaded.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        *,
        links: Mapping[str, Sequence[Link]] = MappingProxyType({}),
        refused: Sequence[RuleFault] = (),
        watchdog: RuleWatchdog | None = None,
    ) -> None:
        self._detectors = tuple(detectors)
        self._watchdog = watchdog
        self._links = links
        self.refused = tuple(refused)
        self._cache: VerdictCache[tuple[int, ...]] = VerdictCache()
        self._by_source: dict[LogSource, Matcher[Detector]] = {}
        self._by_event_type: dict[str, Matcher[Detector]] = {}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule once, without rules that only feed others."""
        rules = [detector.rule for detector in self._detectors]
        rules += [link.rule for links in self._links.values() for link in links]
        return tuple({rule.ref.id: rule for rule in rules if not rule.feeds_only}.values())

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """All detectors."""
        return self._detectors

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """Every rule once, also those that only feed others."""
        rules = [detector.rule for detector in self._detectors]
        rules += [link.rule for links in self._links.values() for link in links]
        return tuple({rule.ref.id: rule for rule in rules}.values())

    def select(self, rule_ids: Collection[str]) -> "RuleSet":
        """The rules with these ids, with the correlations whose hits they count.

        Only the selected rules make findings, also if they are staged.
        """
        needed = set(rule_ids)
        while True:
            inner = {
                inner
                for inner, links in self._links.items()
                if any(link.rule.ref.id in needed for link in links)
            }
            if inner <= needed:
                break
            needed |= inner

        def selected(rule: Rule) -> Rule:
            reports = rule.ref.id in rule_ids
            window = rule.window and replace(rule.window, reports=reports)
            return replace(rule, staged=not reports, window=window)

        return RuleSet(
            [
                replace(detector, rule=selected(detector.rule))
                for detector in self._detectors
                if detector.rule.ref.id in needed
            ],
            links={
                inner: [
                    replace(link, rule=selected(link.rule))
                    for link in links
                    if link.rule.ref.id in needed
                ]
                for inner, links in self._links.items()
            },
        )

    def with_staged_rules_active(self) -> "RuleSet":
        """The same rules, but staged rules make findings too."""
        return RuleSet(
            [
                msgspec.structs.replace(detector, rule=_active(detector.rule))
                for detector in self._detectors
            ],
            links={
                rule_id: [msgspec.structs.replace(link, rule=_active(link.rule)) for link in links]
                for rule_id, links in self._links.items()
            },
            refused=self.refused,
            watchdog=self._watchdog,
        )

    def fed_by(self, rule: Rule) -> Sequence[Link]:
        """The correlations that count the hits of a rule."""
        return self._links.get(rule.ref.id, ())

    def match(self, view: View) -> Sequence[Detector]:
        """The detectors that an event matches."""
        event = view.event
        matcher = self._by_event_type.get(event.event_type) if event.logsource is None else None
        if matcher is None:
            matcher = self._matcher(logsource.of_event(event))
            # Senders choose the type, so the number of cached types is limited.
            if event.logsource is None and len(self._by_event_type) < _MAX_SOURCES:
                self._by_event_type[event.event_type] = matcher
        return matcher.match(view)

    def _matcher(self, source: LogSource) -> Matcher[Detector]:
        """The matcher with the rules of a log source."""
        matcher = self._by_source.get(source)
        if matcher is None:
            matcher = Matcher(
                [
                    Entry(detector, detector.matches, detector.requirements, detector.dependencies)
                    for detector in self._detectors
                    if logsource.applies(detector.logsource, source) and not self._is_off(detector)
                ],
                cache=self._cache,
                limit=self._watchdog.limit if self._watchdog else inf,
                on_slow=self._on_slow,
            )
            # Senders choose the log source, so the number of cached matchers is limited.
            if len(self._by_source) < _MAX_SOURCES:
                self._by_source[source] = matcher
        return matcher

    def _is_off(self, detector: Detector) -> bool:
        return self._watchdog is not None and self._watchdog.is_off(detector.rule)

    def _on_slow(self, detector: Detector, seconds: float) -> None:
        if self._watchdog is not None and self._watchdog.report_slow(detector.rule, seconds):
            # The next event builds matchers without the disabled rule.
            self._by_source.clear()
            self._by_event_type.clear()


def _active(rule: Rule) -> Rule:
    if not rule.staged:
        return rule
    window = rule.window
    if window is not None:
        window = msgspec.structs.replace(window, reports=not rule.feeds_only)
    return msgspec.structs.replace(rule, staged=False, window=window)


def _default_entity(event: Event) -> dict[str, str]:
    """The entity of a rule without a group-by: the user and the host of the event itself.

    Not from the view: the record of a source can have fields with these names and other meanings.
    """
    fields = {"user_id": event.user_id, "server_hostname": event.server_hostname}
    return {name: value for name, value in fields.items() if value}


def _first_values(view: View, fields: Iterable[str]) -> dict[str, str]:
    """The first value of each field that is a non-empty text, by field."""
    found = {}
    for field in fields:
        values = [value for value in map(text, view.values(field)) if value]
        if values:
            found[field] = values[0]
    return found
