"""Runs hunts in the archive process: one at a time, each in a process of its own."""

import datetime as dt
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.hunt import child_process, publication
from audit_analysis.hunt.jobs import HuntJob, HuntJobs, HuntOutcome
from auditflow.contract.hunts import Hunt, HuntRequest, HuntState
from auditflow.errors import AuditFlowError, Unavailable
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: Maximum number of hunts that wait or run.
MAX_WAITING: Final = 10
#: Number of hunts that are kept after their end.
MAX_KEPT: Final = 50
#: Maximum number of starts of a hunt, so that a hunt that ends the archive process is not repeated
#: forever.
MAX_STARTS: Final = 10
#: Maximum number of findings that a hunt publishes.
MAX_PUBLISHED: Final = 10_000
#: Time between two starts after a temporary error, and between two attempts to publish (seconds).
_RETRY_SECONDS: Final = 5.0

log = logs.get(__name__)


class HuntLimits(Struct, frozen=True, kw_only=True):
    """The limits of hunts. ``seconds`` is the maximum time from a start to the end."""

    seconds: float = 3600.0
    waiting: int = MAX_WAITING
    kept: int = MAX_KEPT
    starts: int = MAX_STARTS
    published: int = MAX_PUBLISHED


class TooManyHunts(AuditFlowError):
    """Too many hunts wait."""


class _Interrupted(Exception):
    """The hunt was cancelled, or the archive process stops."""


class HuntRunner:
    """Queues hunts, and runs them on a thread. Any thread may call its methods."""

    def __init__(
        self,
        jobs: HuntJobs,
        *,
        pending: Callable[[], Sequence[ArchivedEvent]],
        publish: publication.Publish,
        limits: HuntLimits = HuntLimits(),  # noqa: B008 - it is frozen
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        command: Sequence[str] = (sys.executable, "-m", "audit_analysis.hunt.process"),
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """``pending`` gives the events that are in no file yet."""
        self._jobs = jobs
        self._pending = pending
        self._publish_messages = publish
        self._limits = limits
        self._clock = clock
        self._command = tuple(command)
        self._retry_seconds = retry_seconds
        self._changed = threading.Condition()
        self._hunts: dict[UUID, Hunt] = {hunt.hunt_id: hunt for hunt in jobs.read_all()}
        self._cancelled: set[UUID] = set()
        self._stop = threading.Event()
        self._worker = Worker("hunts", self._run)

    def start(self) -> None:
        """Start the thread. Hunts that an earlier process began are continued."""
        self._worker.start()

    def stop(self) -> None:
        """End the thread. The hunt that runs is continued at the next start."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._worker.stop(timeout=child_process.END_SECONDS + 2)

    def alive(self) -> str | None:
        """Why the thread does not run; None while it runs."""
        return self._worker.check()

    def submit(self, request: HuntRequest, *, caller: str) -> Hunt:
        """Queue a hunt. ``request`` has a rule or rules.

        Raises:
            TooManyHunts: too many hunts wait.
            Unavailable: the hunt cannot be stored.
        """
        now = self._clock()
        hunt = Hunt(
            hunt_id=uuid.uuid4(),
            rule=request.rule,
            since=request.since,
            until=request.until or now,
            publish=request.publish,
            created_at=now,
            created_by=caller,
        )
        with self._changed:
            active = sum(not known.state.is_final for known in self._hunts.values())
            if active >= self._limits.waiting:
                raise TooManyHunts(f"{active} hunts wait already")
            try:
                self._jobs.create(hunt, request.rules)
            except OSError as error:
                self._jobs.delete(hunt.hunt_id)
                raise Unavailable("storage", str(error)) from error
            self._hunts[hunt.hunt_id] = hunt
            self._changed.notify_all()
        return hunt

    def all(self) -> list[Hunt]:
        """All hunts, the newest first."""
        with self._changed:
            hunts = [*self._hunts.values()]
        return [self._with_progress(hunt) for hunt in reversed(hunts)]

    def get(self, hunt_id: UUID) -> Hunt | None:
        """A hunt; None if there is no such hunt."""
        with self._changed:
            hunt = self._hunts.get(hunt_id)
        return None if hunt is None else self._with_progress(hunt)

    def cancel(self, hunt_id: UUID) -> Hunt | None:
        """Cancel a hunt that is not final. None if there is no such hunt."""
        with self._changed:
            hunt = self._hunts.get(hunt_id)
            if hunt is None or hunt.state.is_final:
                return hunt
            self._cancelled.add(hunt_id)
            if hunt.state is HuntState.WAITING:
                hunt = self._finish(hunt, HuntState.CANCELLED)
            self._changed.notify_all()
        return hunt

    def findings(self, hunt_id: UUID) -> Path | None:
        """The file of the findings (NDJSON); None if there is none."""
        path = self._jobs.job(hunt_id).findings
        return path if path.is_file() else None

    def _with_progress(self, hunt: Hunt) -> Hunt:
        if hunt.state is not HuntState.RUNNING:
            return hunt
        try:
            progress = self._jobs.job(hunt.hunt_id).progress()
        except (OSError, msgspec.MsgspecError):
            return hunt
        if progress is None:
            return hunt
        return msgspec.structs.replace(
            hunt,
            events=progress.events,
            total_events=progress.total_events,
            candidates=progress.candidates,
            findings=progress.findings,
        )

    # The following methods run on the thread.

    def _run(self) -> None:
        while (hunt := self._next()) is not None:
            try:
                self._process_or_fail(hunt)
                self._delete_old()
            except OSError as error:  # the disk is full
                log.warning("the state of a hunt cannot be written", error=str(error))
                self._stop.wait(self._retry_seconds)

    def _process_or_fail(self, hunt: Hunt) -> None:
        try:
            self._process(hunt)
        except _Interrupted:
            if hunt.hunt_id in self._cancelled:
                self._finish(self._hunts[hunt.hunt_id], HuntState.CANCELLED)
        except Exception:  # a hunt must never end the process of the writer
            log.exception("a hunt failed", hunt=str(hunt.hunt_id))
            self._fail(self._hunts[hunt.hunt_id], "The log contains the reason.")

    def _next(self) -> Hunt | None:
        """The oldest hunt that is not final; None if the archive process stops."""
        with self._changed:
            while not self._stop.is_set():
                for hunt in self._hunts.values():
                    if not hunt.state.is_final:
                        return hunt
                self._changed.wait()
        return None

    def _process(self, hunt: Hunt) -> None:
        job = self._jobs.job(hunt.hunt_id)
        if hunt.state is not HuntState.PUBLISHING:
            found = self._search(hunt, job)
            if found is None:
                return
            hunt = found
        if hunt.state is HuntState.PUBLISHING:
            self._publish(hunt, job)

    def _search(self, hunt: Hunt, job: HuntJob) -> Hunt | None:
        """Run the process of the hunt until it has a result. None: it failed."""
        while True:
            if hunt.starts >= self._limits.starts:
                self._fail(hunt, f"It was started {hunt.starts} times without a result.")
                return None
            hunt = self._change(hunt, state=HuntState.RUNNING, starts=hunt.starts + 1)
            job.begin(self._pending())
            outcome = self._wait(hunt, job)
            if outcome.error is None:
                break
            if not outcome.is_temporary:
                self._fail(hunt, outcome.error)
                return None
            log.warning("a hunt is repeated", hunt=str(hunt.hunt_id), error=outcome.error)
            self._sleep(hunt)
        hunt = self._change(
            hunt,
            events=outcome.total_events,
            total_events=outcome.total_events,
            candidates=outcome.candidates,
            refused=outcome.refused,
            findings=outcome.findings,
        )
        if not hunt.publish:
            return self._finish(hunt, HuntState.COMPLETED)
        if hunt.findings > self._limits.published:
            reason = f"more than {self._limits.published} findings are not published"
            return self._finish(hunt, HuntState.COMPLETED, error=reason)
        return self._change(hunt, state=HuntState.PUBLISHING)

    def _wait(self, hunt: Hunt, job: HuntJob) -> HuntOutcome:
        """Run the process once.

        Raises:
            _Interrupted: the hunt was cancelled, or the archive process stops.
        """
        outcome = child_process.run(
            self._command,
            job,
            seconds=self._limits.seconds,
            is_interrupted=lambda: self._is_interrupted(hunt),
        )
        if outcome is not None:
            return outcome
        if hunt.hunt_id not in self._cancelled:  # not a failed start
            self._change(hunt, starts=hunt.starts - 1)
        raise _Interrupted

    def _publish(self, hunt: Hunt, job: HuntJob) -> None:
        try:
            publication.publish_file(
                job.findings,
                self._publish_messages,
                check=lambda: self._raise_if_interrupted(hunt),
                pause=lambda: self._sleep(hunt),
                on_stored=lambda published: self._count_published(hunt, published),
            )
        except publication.NotStored:
            self._fail(self._hunts[hunt.hunt_id], "The broker did not store the findings.")
        else:
            self._finish(self._hunts[hunt.hunt_id], HuntState.COMPLETED)

    def _count_published(self, hunt: Hunt, published: int) -> None:
        self._change(self._hunts[hunt.hunt_id], published=published)

    def _sleep(self, hunt: Hunt) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_interrupted(hunt), self._retry_seconds)
        self._raise_if_interrupted(hunt)

    def _raise_if_interrupted(self, hunt: Hunt) -> None:
        if self._is_interrupted(hunt):
            raise _Interrupted

    def _is_interrupted(self, hunt: Hunt) -> bool:
        return self._stop.is_set() or hunt.hunt_id in self._cancelled

    def _fail(self, hunt: Hunt, reason: str) -> None:
        self._finish(hunt, HuntState.FAILED, error=reason)

    def _finish(self, hunt: Hunt, state: HuntState, error: str | None = None) -> Hunt:
        """Make the hunt final. A finding was already published or not: that does not change."""
        hunt = self._change(hunt, state=state, error=error, finished_at=self._clock())
        self._jobs.job(hunt.hunt_id).end()
        log.info(
            "hunt ended", hunt=str(hunt.hunt_id), state=state.value, findings=hunt.findings,
            published=hunt.published, error=error,
        )  # fmt: skip
        return hunt

    def _change(self, hunt: Hunt, **changes: Any) -> Hunt:
        changed = msgspec.structs.replace(hunt, **changes)
        self._jobs.job(hunt.hunt_id).write(changed)
        with self._changed:
            self._hunts[hunt.hunt_id] = changed
        return changed

    def _delete_old(self) -> None:
        with self._changed:
            final = [hunt for hunt in self._hunts.values() if hunt.state.is_final]
            old = final[: max(0, len(final) - self._limits.kept)]
            for hunt in old:
                del self._hunts[hunt.hunt_id]
                self._cancelled.discard(hunt.hunt_id)
        for hunt in old:
            self._jobs.delete(hunt.hunt_id)
