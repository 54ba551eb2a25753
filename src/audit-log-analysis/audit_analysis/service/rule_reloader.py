"""Rules that follow their files: a change is loaded whole, or not at all."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge

from audit_analysis.sigma import documents
from audit_analysis.sigma.errors import RuleErrors, RuleFault
from audit_analysis.sigma.rule import RuleSet
from auditflow.telemetry import logs

#: How often the files are looked at.
POLL_SECONDS: Final = 2.0

log = logs.get(__name__)

#: What tells one state of the files from another: path, size, time of change and number of each.
_Stamp = tuple[tuple[str, int, int, int], ...]


class State(Struct, frozen=True):
    """The rules in force, and what is wrong with newer ones that are not."""

    rules: RuleSet
    faults: tuple[RuleFault, ...] = ()


class RuleFiles:
    """Keeps the last good rules in force, and looks for better ones on a thread of its own."""

    def __init__(
        self,
        load: Callable[[], RuleSet],
        places: Iterable[Path],
        *,
        registry: CollectorRegistry,
        seconds: float = POLL_SECONDS,
    ) -> None:
        """Raises RuleErrors when the rules cannot be used from the start."""
        self._load = load
        self._places = tuple(places)
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rules", daemon=True)
        self._loaded = Gauge("auditflow_analysis_rules", "Rules in force.", registry=registry)
        self._refused = Gauge(
            "auditflow_analysis_rules_refused",
            "Faults of foreign rules left out.",
            registry=registry,
        )
        self._stale = Gauge(
            "auditflow_analysis_rules_stale",
            "1 while newer rule files are at fault and older rules are kept in force.",
            registry=registry,
        )
        self._reloads = Counter(
            "auditflow_analysis_rule_reloads",
            "Changes of rule files by what came of them: loaded or refused.",
            ["outcome"],
            registry=registry,
        )
        self._stamp = self._look()
        self._state = State(load())
        self._tell()

    def current(self) -> RuleSet:
        """The rules in force."""
        return self._state.rules

    def state(self) -> State:
        """The rules in force, and what is wrong with newer ones."""
        return self._state

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def look_again(self) -> None:
        """Load the files if they changed."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            rules = self._load()
        except RuleErrors as error:
            self._state = State(self._state.rules, tuple(error.faults))
            self._reloads.labels("refused").inc()
            log.warning("changed rules are at fault: the last good ones stay", faults=str(error))
        else:
            self._state = State(rules)
            self._reloads.labels("loaded").inc()
            log.info("rules loaded", rules=len(rules.rules), refused=len(rules.refused))
        self._tell()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.look_again()
            except OSError as error:
                log.warning("the rule files cannot be looked at", error=str(error))

    def _look(self) -> _Stamp:
        return tuple(
            (str(path), about.st_size, about.st_mtime_ns, about.st_ino)
            for path in documents.watched(self._places)
            for about in (path.stat(),)
        )

    def _tell(self) -> None:
        self._loaded.set(len(self._state.rules.rules))
        self._refused.set(len(self._state.rules.refused))
        self._stale.set(bool(self._state.faults))
