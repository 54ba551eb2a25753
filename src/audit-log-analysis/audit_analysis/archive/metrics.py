"""The metrics of the archive process."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.table import OTHER, PRODUCTS
from auditflow.errors import Unavailable

#: Why a file is deleted: a merged file replaced it, its retention ended, no manifest names it.
DELETION_REASONS: Final = ("replaced", "expired", "orphan")
#: Outcomes of a run of the maintenance.
MAINTENANCE_OUTCOMES: Final = ("done", "failed", "skipped")


class ArchiveMetrics:
    """The metrics, in the caller's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "auditflow_archive_events_total",
            "Events that were written to files, by log source. Duplicates are included.",
            ["source"],
            registry=registry,
        )
        for source in (*PRODUCTS, OTHER):
            self.events.labels(source)
        self.batches = Counter(
            "auditflow_archive_batches_total",
            "Batches of the analysis that were archived and acknowledged.",
            registry=registry,
        )
        self.duplicates = Counter(
            "auditflow_archive_duplicate_batches_total",
            "Batches that were delivered again after they were archived.",
            registry=registry,
        )
        self.pauses = Counter(
            "auditflow_archive_pauses_total",
            "Attempts to write that failed because the storage or PostgreSQL is unavailable.",
            registry=registry,
        )
        self.files = Counter(
            "auditflow_archive_files_total", "Files that were written.", registry=registry
        )
        self.bytes = Counter(
            "auditflow_archive_written_bytes_total",
            "Size of the files that were written.",
            registry=registry,
        )
        self.flush_seconds = Histogram(
            "auditflow_archive_flush_seconds",
            "Time to write and commit the files of one flush.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.pending = Gauge(
            "auditflow_archive_pending_events",
            "Events that the process has received and not written to a file yet.",
            registry=registry,
        )
        self.free_bytes = Gauge(
            "auditflow_archive_free_bytes",
            "Free space of the volume. NaN if the files are in S3.",
            registry=registry,
        )
        self.free_bytes.set(math.nan)
        self.merged = Counter(
            "auditflow_archive_merged_files_total",
            "Small files that were replaced by a merged file.",
            registry=registry,
        )
        self.deleted = Counter(
            "auditflow_archive_deleted_files_total",
            "Files that were deleted from the storage, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in DELETION_REASONS:
            self.deleted.labels(reason)
        self.maintenance = Counter(
            "auditflow_archive_maintenance_runs_total",
            "Runs of the maintenance. Skipped: another process was running it.",
            ["outcome"],
            registry=registry,
        )
        for outcome in MAINTENANCE_OUTCOMES:
            self.maintenance.labels(outcome)

    def observe_pending(self, count: Callable[[], int]) -> None:
        """Call ``count`` at each scrape."""
        self.pending.set_function(count)

    def observe_free_bytes(self, free_bytes: Callable[[], int | None]) -> None:
        """Call ``free_bytes`` at each scrape. It may raise Unavailable."""

        def value() -> float:
            try:
                free = free_bytes()
            except Unavailable:
                return math.nan
            return math.nan if free is None else free

        self.free_bytes.set_function(value)

    def add_flush(self, files: Sequence[ArchiveFile], *, duplicates: int, seconds: float) -> None:
        """Count a flush with its files. It took ``seconds``.

        ``duplicates`` is the number of batches that were archived before.
        """
        self.flush_seconds.observe(seconds)
        self.duplicates.inc(duplicates)
        for file in files:
            self.files.inc()
            self.events.labels(file.source).inc(file.rows)
            self.bytes.inc(file.size)
