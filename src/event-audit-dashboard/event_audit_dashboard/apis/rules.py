"""Client of the analysis: its rules, and what the alerts tell about them."""

from typing import Final

from msgspec import Struct

from auditflow.contract.statistics import RuleStatistics
from event_audit_dashboard.apis.client import ApiClient, Caller
from event_audit_dashboard.apis.transport import Service
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.localization.translation import N_

ANALYSIS: Final = Service(N_("the analysis"), "audit-log-analysis", N_("the rules"))
#: Time for which all users share a response, in seconds.
CATALOGUE_SECONDS: Final = 5.0
STATISTICS_SECONDS: Final = 10.0
#: Period of the statistics, in days.
DAYS: Final = 30


class InputRule(Struct, frozen=True):
    """A rule whose events a correlation counts. Exclusions apply to it."""

    id: str
    logsource: dict[str, str] = {}


class CatalogueRule(Struct, frozen=True, kw_only=True):
    """A rule as its file describes it. ``feeds`` rules make no findings of their own."""

    id: str
    title: str
    level: str = ""
    status: str = ""
    kind: str = ""
    description: str = ""
    file: str = ""
    line: int = 1
    logsource: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    runbook: str | None = None
    tests: int = 0
    feeds: bool = False
    inputs: tuple[InputRule, ...] = ()


class Exclusion(Struct, frozen=True, kw_only=True):
    """A Sigma filter that removes known good behaviour from rules."""

    id: str
    title: str
    rules: tuple[str, ...] = ()
    owner: str = ""
    reason: str = ""
    expires: str = ""
    source: str = ""


class Cell(Struct, frozen=True):
    """A technique of ATT&CK in a tactic, and the identifiers of its rules."""

    id: str
    name: str
    rules: tuple[str, ...] = ()


class Column(Struct, frozen=True):
    """A tactic of ATT&CK with the techniques that rules cover."""

    id: str
    name: str
    techniques: tuple[Cell, ...] = ()


class Catalogue(Struct, frozen=True):
    """All rules and exclusions, and the ATT&CK matrix of the rules."""

    rules: tuple[CatalogueRule, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    matrix: tuple[Column, ...] = ()

    def rule(self, rule_id: str) -> CatalogueRule | None:
        """The rule with this identifier."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)


class FileFault(Struct, frozen=True):
    """A fault in a rule file."""

    line: int
    message: str


class FailedFile(Struct, frozen=True):
    """A rule file with faults."""

    file: str
    previous_version_active: bool = False
    faults: tuple[FileFault, ...] = ()


class SlowRule(Struct, frozen=True):
    """A rule that takes long for an event. A rule that is ``off`` was disabled for that."""

    rule: dict[str, object]
    times: int = 0
    worst_ms: float = 0.0
    off: bool = False


class LoadedRule(Struct, frozen=True):
    """A rule that is active. A staged rule makes no findings."""

    rule: dict[str, object]
    staged: bool = False


class LoadedRules(Struct, frozen=True):
    """The state of the rules in the process of the analysis."""

    rules: tuple[LoadedRule, ...] = ()
    refused: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    failed_files: tuple[FailedFile, ...] = ()
    slow: tuple[SlowRule, ...] = ()

    @property
    def active(self) -> frozenset[str]:
        """The identifiers of the active rules."""
        return frozenset(str(item.rule.get("id")) for item in self.rules)


class RuleSource(Struct, frozen=True):
    """The YAML text of a rule, and that of its tests; ``tests`` is empty without tests."""

    source: str = ""
    tests: str = ""


class RulesApi:
    """Reads rules from the analysis and their statistics from the notification service."""

    def __init__(self, analysis: ApiClient, api: ApiClient) -> None:
        self._analysis = analysis
        self._api = api
        self._catalogues: TimedCache[Catalogue] = TimedCache(seconds=CATALOGUE_SECONDS)
        self._statistics: TimedCache[RuleStatistics] = TimedCache(seconds=STATISTICS_SECONDS)

    def catalogue(self, caller: Caller) -> Catalogue:
        """All rules and exclusions as their files describe them."""
        return self._catalogues.get(
            "", lambda: self._analysis.get("/rules/catalogue", caller, Catalogue)
        )

    def loaded(self, caller: Caller) -> LoadedRules:
        """The active rules, and faults of files."""
        return self._analysis.get("/rules", caller, LoadedRules)

    def source(self, rule_id: str, caller: Caller) -> RuleSource:
        """The texts of a rule and of its tests.

        Raises:
            NotFound: there is no rule with this identifier.
        """
        return self._analysis.get("/rules/source", caller, RuleSource, {"id": rule_id})

    def statistics(self, caller: Caller) -> RuleStatistics:
        """Alerts and verdicts of each rule in the last 30 days."""
        query = {"days": str(DAYS)}
        path = "/api/v1/rules/statistics"
        return self._statistics.get("", lambda: self._api.get(path, caller, RuleStatistics, query))
