"""The maintenance of the archive: retention, deletion of files, and compaction.

It runs in its own thread of the archive process, and never blocks the writer. One process at a time
runs it. A run that was interrupted at any step is completed by the next run.
"""

import datetime as dt
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.compaction import Compaction
from audit_analysis.archive.id_index import IdIndex
from audit_analysis.archive.maintenance_manifest import MaintenanceManifest, MaintenanceSession
from audit_analysis.archive.manifest import REPLACED_SECONDS
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.storage import Storage, StoredFile
from auditflow.errors import Unavailable
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: A removed file is deleted after this time, so that readers that know it can finish.
REMOVED_GRACE: Final = dt.timedelta(seconds=REPLACED_SECONDS)
#: A file without an entry in the manifest is deleted after this time.
ORPHAN_GRACE: Final = dt.timedelta(hours=24)
#: Only files whose names the archive creates are deleted: a bucket may contain other files.
_OWN_PATH: Final = re.compile(r"\d{4}/\d\d/\d\d/\d\d/[a-z0-9_]+-[0-9a-f-]{36}\.parquet")
#: Maximum difference between the clocks of this machine and of PostgreSQL. With a larger one,
#: nothing is merged or deleted: a clock that is ahead would let all files expire.
MAX_CLOCK_DIFFERENCE: Final = dt.timedelta(minutes=5)
_PATHS_PER_QUERY: Final = 1000
_STOP_SECONDS: Final = 5.0
#: The CPU priority is that of the writer's threads.
_NICENESS: Final = 5

log = logs.get(__name__)


def utc_now() -> dt.datetime:
    """The current time."""
    return dt.datetime.now(dt.UTC)


class Maintenance:
    """The maintenance of one tier."""

    def __init__(
        self,
        manifest: MaintenanceManifest,
        storage: Storage,
        files: ParquetWriter,
        *,
        retention_days: int,
        metrics: ArchiveMetrics,
        interval_seconds: float = 300.0,
        index: IdIndex | None = None,
        snapshot: Callable[[], list[ArchiveFile]] = list,
        clock: Callable[[], dt.datetime] = utc_now,
        max_clock_difference: dt.timedelta = dt.timedelta.max,
    ) -> None:
        """``files`` merges files. The writer of the archive must not use it.

        ``index`` is updated for the files of ``snapshot``. If ``clock`` differs from the clock of
        PostgreSQL by more than ``max_clock_difference``, a run fails and changes nothing.
        """
        self._manifest = manifest
        self._storage = storage
        self._files = files
        self._compaction = Compaction(storage, files)
        self._retention = dt.timedelta(days=retention_days)
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._index = index
        self._snapshot = snapshot
        self._clock = clock
        self._max_clock_difference = max_clock_difference
        self._stop = threading.Event()
        self._worker = Worker("archive-maintenance", self._run_until_stopped, niceness=_NICENESS)

    def start(self) -> None:
        """Start the thread. Returns immediately."""
        self._worker.start()

    def stop(self) -> None:
        """Interrupt the current run and end the thread."""
        self._stop.set()
        self._files.interrupt()
        self._worker.stop(timeout=_STOP_SECONDS)

    def alive(self) -> str | None:
        """Why the thread does not run; None while it runs."""
        return self._worker.check()

    def run(self) -> None:
        """Run all steps once. A step that fails is logged, and the next run repeats it."""
        try:
            with self._manifest.session(self._storage.tier) as session:
                outcome = "skipped" if session is None else self._run_steps(session)
        except Unavailable as error:
            outcome = "failed"
            log.warning("the maintenance of the archive failed", error=str(error))
        self._metrics.maintenance.labels(outcome).inc()
        self._update_index()

    def _update_index(self) -> None:
        """Each process has an index of its own, also if another process does the maintenance."""
        if self._index is None:
            return
        try:
            self._index.update(
                self._snapshot(),
                self._storage.address,
                self._files.sorted_ids,
                now=self._clock(),
                is_stopped=self._stop.is_set,
            )
        except Unavailable as error:
            log.warning("the index of identifiers is not complete", error=str(error))

    def _run_until_stopped(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            self.run()

    def _run_steps(self, session: MaintenanceSession) -> str:
        difference = abs(self._clock() - session.time())
        if difference > self._max_clock_difference:
            seconds = difference.total_seconds()
            raise Unavailable("clock", f"it differs by {seconds:.0f} s from that of PostgreSQL")
        # Deletion first: compaction needs free space.
        failures = [
            self._try(step, session)
            for step in (
                self._restore_held,
                self._expire,
                self._delete_removed,
                self._delete_orphans,
                self._forget_batches,
                self._compact,
            )
        ]
        return "failed" if any(failures) else "done"

    def _try(self, step: Callable[[MaintenanceSession], None], session: MaintenanceSession) -> bool:
        if self._stop.is_set():
            return True
        try:
            step(session)
        except Unavailable as error:
            log.warning(
                "a step of the maintenance failed",
                step=step.__name__.strip("_"),
                error=str(error),
            )
            return True
        return False

    def _restore_held(self, session: MaintenanceSession) -> None:
        count = session.restore_held(now=self._clock())
        if count:
            log.info("expired files under a legal hold were restored", files=count)

    def _expire(self, session: MaintenanceSession) -> None:
        now = self._clock()
        count = session.expire(before=now - self._retention, now=now)
        if count:
            log.info("files of the archive expired", files=count)

    def _delete_removed(self, session: MaintenanceSession) -> None:
        for path, state in session.start_deletion(removed_before=self._clock() - REMOVED_GRACE):
            if self._stop.is_set():
                return
            self._storage.delete(path)
            session.forget(path)
            self._metrics.deleted.labels(state).inc()

    def _delete_orphans(self, session: MaintenanceSession) -> None:
        if session.is_empty():
            return  # PostgreSQL may be new and wait for the restore of its backup
        old = self._old_paths(self._storage.files())
        while paths := list(islice(old, _PATHS_PER_QUERY)):
            for path in sorted(session.without_entry(paths)):
                if self._stop.is_set():
                    return
                self._storage.delete(path)
                self._metrics.deleted.labels("orphan").inc()
                log.info("a file without an entry in the manifest was deleted", path=path)

    def _old_paths(self, files: Iterable[StoredFile]) -> Iterator[str]:
        before = self._clock() - ORPHAN_GRACE
        for file in files:
            if file.modified < before and _OWN_PATH.fullmatch(file.path):
                yield file.path

    def _forget_batches(self, session: MaintenanceSession) -> None:
        session.forget_batches(before=self._clock() - self._retention)

    def _compact(self, session: MaintenanceSession) -> None:
        failure: Unavailable | None = None
        for partition in self._compaction.partitions(session, self._clock()):
            if self._stop.is_set():
                return
            try:
                count = self._compaction.merge(session, partition, self._clock)
            except Unavailable as error:  # other partitions do not depend on it
                failure = error
                continue
            self._metrics.merged.inc(count)
        if failure is not None:
            raise failure
