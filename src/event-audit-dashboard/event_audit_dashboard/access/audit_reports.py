"""Reports sign-ins to the audit trail of the notification service, in a thread of its own.

A sign-in never waits for the API. While the API is unavailable, reports wait in memory. If too many
wait, the oldest are dropped, and a report states how many.
"""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import structs

from auditflow.contract.audit import (
    TRAIL_PATH,
    Outcome,
    ReportedAction,
    StoredReports,
    TrailReport,
    trail_text,
)
from auditflow.telemetry import logs
from auditflow.worker import Worker
from event_audit_dashboard import errors
from event_audit_dashboard.apis.client import ApiClient, Caller

#: Reports that wait for the API, and reports of one request.
MAX_WAITING: Final = 1_000
BATCH: Final = 100
RETRY_SECONDS: Final = 2.0

_log = logs.get(__name__)


class Reports(Protocol):
    """Receives reports."""

    def report(
        self,
        action: ReportedAction,
        actor: str,
        address: str,
        *,
        outcome: Outcome = "done",
        detail: Mapping[str, str] = {},
    ) -> None:
        """Report what a person did. It does not wait."""


class NoReports:
    """Ignores reports, for tests of pages."""

    def report(self, *arguments: object, **options: object) -> None:
        """Ignore the report."""


class AuditReports:
    """Sends reports in batches."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._waiting: deque[TrailReport] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._worker = Worker("audit-reports", self._run)

    def report(
        self,
        action: ReportedAction,
        actor: str,
        address: str,
        *,
        outcome: Outcome = "done",
        detail: Mapping[str, str] = {},
    ) -> None:
        """Report what a person did. It does not wait."""
        report = TrailReport(
            actor=trail_text(actor),
            action=action,
            outcome=outcome,
            address=trail_text(address),
            detail=dict(detail),
        )
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(report)
        self._wake.set()

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def close(self) -> None:
        """Send what waits, once, and end the thread."""
        self._stopping.set()
        self._wake.set()
        self._worker.stop(timeout=3.0)

    def alive(self) -> str | None:
        """None while the thread runs, else what is wrong."""
        return self._worker.check()

    def send(self) -> bool:
        """Send one batch. True if more reports wait. Raises ApiError: the reports wait."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            dropped, self._dropped = self._dropped, 0
        if not batch:
            return False
        sent = list(batch)
        if dropped:
            sent[0] = structs.replace(
                sent[0], detail={**sent[0].detail, "reports dropped before": str(dropped)}
            )
        try:
            self._api.post(
                TRAIL_PATH,
                Caller(person=None, correlation_id="audit-reports"),
                StoredReports,
                {"reports": sent},
            )
        except errors.ApiError:
            with self._lock:
                self._waiting.extendleft(reversed(batch))
                self._dropped += dropped
            raise
        return len(batch) == BATCH

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            try:
                while self.send():
                    pass
            except errors.ApiError as error:
                _log.warning("audit reports wait", error=str(error))
                if not self._stopping.wait(RETRY_SECONDS):
                    self._wake.set()
            if self._stopping.is_set():
                return
