"""Reloads the rules when their files change."""

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
from auditflow.worker import Worker

#: How often the files are checked.
POLL_SECONDS: Final = 2.0

log = logs.get(__name__)

#: Path, size, modification time and inode of each file: equal for files that did not change.
_Fingerprint = tuple[tuple[str, int, int, int], ...]


class State(Struct, frozen=True):
    """The active rules, and the faults of newer files that were not loaded."""

    rules: RuleSet
    faults: tuple[RuleFault, ...] = ()


class RuleReloader:
    """Keeps the last valid rules active, and checks the files on its own thread."""

    def __init__(
        self,
        load: Callable[[], RuleSet],
        paths: Iterable[Path],
        *,
        registry: CollectorRegistry,
        seconds: float = POLL_SECONDS,
    ) -> None:
        """Load the rules. Raises RuleErrors if that fails."""
        self._load = load
        self._paths = tuple(paths)
        self._seconds = seconds
        self._stop = threading.Event()
        self._worker = Worker("rules", self._watch)
        self._loaded = Gauge("auditflow_analysis_rules", "Active rules.", registry=registry)
        self._refused = Gauge(
            "auditflow_analysis_rules_refused",
            "Faults of foreign rules that were not loaded.",
            registry=registry,
        )
        self._stale = Gauge(
            "auditflow_analysis_rules_stale",
            "1 while newer rule files have faults and older rules stay active.",
            registry=registry,
        )
        self._reloads = Counter(
            "auditflow_analysis_rule_reloads",
            "Changes of rule files, by result: loaded or refused.",
            ["outcome"],
            registry=registry,
        )
        self._fingerprint = self._read_fingerprint()
        self._state = State(load())
        self._update_gauges()

    def current(self) -> RuleSet:
        """The active rules."""
        return self._state.rules

    def state(self) -> State:
        """The active rules, and the faults of newer files."""
        return self._state

    def start(self) -> None:
        """Start the thread that checks the files."""
        self._worker.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._worker.stop(timeout=2)

    def alive(self) -> str | None:
        """Why the thread does not run; None while it runs."""
        return self._worker.check()

    def reload_if_changed(self) -> None:
        """Load the files if they changed."""
        fingerprint = self._read_fingerprint()
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        try:
            rules = self._load()
        except RuleErrors as error:
            self._state = State(self._state.rules, tuple(error.faults))
            self._reloads.labels("refused").inc()
            log.warning("changed rules have faults; the last valid rules stay", faults=str(error))
        else:
            self._state = State(rules)
            self._reloads.labels("loaded").inc()
            log.info("rules loaded", rules=len(rules.rules), refused=len(rules.refused))
        self._update_gauges()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.reload_if_changed()
            except OSError as error:
                log.warning("the rule files cannot be read", error=str(error))

    def _read_fingerprint(self) -> _Fingerprint:
        return tuple(
            (str(path), status.st_size, status.st_mtime_ns, status.st_ino)
            for path in documents.watched(self._paths)
            for status in (path.stat(),)
        )

    def _update_gauges(self) -> None:
        self._loaded.set(len(self._state.rules.rules))
        self._refused.set(len(self._state.rules.refused))
        self._stale.set(bool(self._state.faults))
