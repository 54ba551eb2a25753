"""Reloads the rules when their files change."""

import collections
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from audit_analysis.sigma import documents
from audit_analysis.sigma.load import LoadedRules
from audit_analysis.sigma.rule import RuleSet
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: How often the files are checked.
POLL_SECONDS: Final = 2.0

log = logs.get(__name__)

#: Path, size, modification time and inode of each file: equal for files that did not change.
_Fingerprint = tuple[tuple[str, int, int, int], ...]


#: Loads the rules. The argument is the result of the load before, or None.
Load = Callable[[LoadedRules | None], LoadedRules]
#: Maximum number of file names in the metric of failed files. Other files are counted as `others`.
_MAX_NAMES: Final = 100


class RuleReloader:
    """Loads the rules, and loads them again when their files change, on its own thread.

    A file with faults does not affect the rules of other files. If it was valid before, its
    previous version stays active.
    """

    def __init__(
        self,
        load: Load,
        paths: Iterable[Path],
        *,
        registry: CollectorRegistry,
        seconds: float = POLL_SECONDS,
    ) -> None:
        """Load the rules. Files with faults are in ``loaded().faults``."""
        self._load = load
        self._paths = tuple(paths)
        self._seconds = seconds
        self._stop = threading.Event()
        self._worker = Worker("rules", self._watch)
        self._active = Gauge("auditflow_analysis_rules", "Active rules.", registry=registry)
        self._refused = Gauge(
            "auditflow_analysis_rules_refused",
            "Faults of foreign rules that were not loaded.",
            registry=registry,
        )
        self._failed = Gauge(
            "auditflow_analysis_rule_files_failed",
            "Number of faults of each own rule file with faults. Rules with faults are not active, "
            "or the previous version of the file is. Files after the first hundred are `others`.",
            ["file"],
            registry=registry,
        )
        self._stale = Gauge(
            "auditflow_analysis_rules_stale",
            "1 while rules of a previous version of a file are active, because its current version "
            "has faults or the files cannot be loaded.",
            registry=registry,
        )
        self._reloads = Counter(
            "auditflow_analysis_rule_reloads",
            "Changes of rule files, by result: loaded (no file has faults) or refused.",
            ["outcome"],
            registry=registry,
        )
        self._fingerprint = self._read_fingerprint()
        self._loaded = load(None)
        self._load_failed = False
        self._log_faults()
        self._update_gauges()

    def current(self) -> RuleSet:
        """The active rules."""
        return self._loaded.rules

    def loaded(self) -> LoadedRules:
        """The active rules, and the faults of their files."""
        return self._loaded

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
            self._loaded = self._load(self._loaded)
        except Exception:
            # A defect of the loader must not stop the rules that are active.
            self._load_failed = True
            self._reloads.labels("refused").inc()
            log.exception("the rules cannot be loaded; the active rules stay")
        else:
            self._load_failed = False
            self._reloads.labels("refused" if self._loaded.faults else "loaded").inc()
            rules = self._loaded.rules
            log.info("rules loaded", rules=len(rules.rules), refused=len(rules.refused))
            self._log_faults()
        self._update_gauges()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            self.reload_if_changed()

    def _read_fingerprint(self) -> _Fingerprint:
        return tuple((str(path), *_status(path)) for path in documents.watched(self._paths))

    def _log_faults(self) -> None:
        faults, outdated = self._loaded.faults, self._loaded.outdated
        if faults:
            log.warning(
                "rule files have faults; all other rules are active",
                faults=[str(fault) for fault in faults[:_MAX_NAMES]],
                previous_version_active=sorted(map(str, outdated)),
            )

    def _update_gauges(self) -> None:
        rules = self._loaded.rules
        self._active.set(len(rules.rules))
        self._refused.set(len(rules.refused))
        self._stale.set(self._load_failed or bool(self._loaded.outdated))
        self._failed.clear()
        number_by_name = collections.Counter(fault.path for fault in self._loaded.faults)
        for index, (path, number) in enumerate(sorted(number_by_name.items())):
            name = path.name if index < _MAX_NAMES else "others"
            self._failed.labels(name).inc(number)


def _status(path: Path) -> tuple[int, int, int]:
    """Size, modification time and inode of a file. Zeros if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ino
