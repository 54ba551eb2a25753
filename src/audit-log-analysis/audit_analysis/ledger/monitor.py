"""Checks the ledger regularly, and reports its differences as metrics and in the log."""

import datetime as dt
import math
import threading
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from audit_analysis.ledger.reading import LedgerReader
from auditflow.contract.ledger_report import LedgerReport
from auditflow.errors import Unavailable
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: The metrics cover hours of this period. Older differences stay in the ledger.
PERIOD: Final = dt.timedelta(days=7)
#: The kinds of differences.
KINDS: Final = ("missing", "altered", "batch")
_STOP_SECONDS: Final = 5.0

log = logs.get(__name__)


class LedgerMetrics:
    """The metrics, in the caller's registry. They are NaN before the first check."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.different = Gauge(
            "auditflow_ledger_different_events",
            "Events of the last 7 days that differ: accepted and missing, altered, or counted "
            "differently by the analysis and the archive.",
            ["kind"],
            registry=registry,
        )
        self.waiting = Gauge(
            "auditflow_ledger_waiting_events",
            "Accepted events of the last 7 days that are not archived yet.",
            registry=registry,
        )
        for kind in KINDS:
            self.different.labels(kind).set(math.nan)
        self.waiting.set(math.nan)

    def show(self, report: LedgerReport) -> None:
        """Show the numbers of a report."""
        batches = sum(item.events for item in report.differences if item.kind == "batch")
        self.different.labels("missing").set(report.total.missing)
        self.different.labels("altered").set(report.total.altered)
        self.different.labels("batch").set(batches)
        self.waiting.set(report.total.waiting)


class LedgerMonitor:
    """Checks the ledger on its own thread."""

    def __init__(
        self,
        reader: LedgerReader,
        metrics: LedgerMetrics,
        *,
        interval_seconds: float,
        report_silence: Callable[[dt.datetime], None] = lambda now: None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """``report_silence`` is called after each check."""
        self._reader = reader
        self._report_silence = report_silence
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._now = now
        self._logged: set[tuple[str, str]] = set()
        self._stop = threading.Event()
        self._worker = Worker("ledger-monitor", self._run)

    def start(self) -> None:
        """Start the thread. Returns immediately."""
        self._worker.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._worker.stop(timeout=_STOP_SECONDS)

    def alive(self) -> str | None:
        """Why the thread does not run; None while it runs."""
        return self._worker.check()

    def check(self) -> None:
        """Check once. While PostgreSQL is unavailable, the last numbers stay."""
        now = self._now()
        until = now + dt.timedelta(hours=1)
        try:
            report = self._reader.report(since=now - PERIOD, until=until)
        except Unavailable as error:
            log.warning("the ledger cannot be checked", error=str(error))
            return
        self._metrics.show(report)
        found = {(item.kind, item.batch) for item in report.differences}
        for item in report.differences:
            if (item.kind, item.batch) not in self._logged:
                log.error(
                    "the ledger has a difference",
                    kind=item.kind,
                    source=item.source,
                    hour=item.hour.isoformat(),
                    batch=item.batch,
                    events=item.events,
                    detail=item.detail,
                )
        self._logged = found

    def _run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            self.check()
            self._report_silence(self._now())
