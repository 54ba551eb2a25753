"""Runs hunts in the archive process: one at a time, each in a process of its own."""

import datetime as dt
import itertools
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.hunt.jobs import HuntJob, HuntJobs, Outcome
from auditflow.amqp import Message, topology
from auditflow.contract import finding
from auditflow.contract.finding import Finding
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
#: Number of findings that are published together.
_PUBLISHED_TOGETHER: Final = 500
_CONFIRM_SECONDS: Final = 30.0
#: Maximum number of attempts to publish the same findings.
_MAX_ATTEMPTS: Final = 60
#: Time between two starts after a temporary error, and between two attempts to publish (seconds).
_RETRY_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.2
#: Maximum time of a process to end after its standard input ended (seconds).
_END_SECONDS: Final = 5.0

_decode_finding = msgspec.json.Decoder(Finding).decode
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
        publish: Callable[[Sequence[Message], float], None],
        limits: HuntLimits = HuntLimits(),  # noqa: B008 - it is frozen
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        command: Sequence[str] = (sys.executable, "-m", "audit_analysis.hunt.process"),
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """``pending`` gives the events that are in no file yet.

        ``publish`` returns when the broker has stored the messages; its second argument is the
        maximum time in seconds. It raises Unavailable.
        """
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
        self._worker.stop(timeout=_END_SECONDS + 2)

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

    def _wait(self, hunt: Hunt, job: HuntJob) -> Outcome:
        """Run the process once.

        Raises:
            _Interrupted: the hunt was cancelled, or the archive process stops.
        """
        process = subprocess.Popen(  # noqa: S603 - no part of it is from a request
            [*self._command, str(job.folder)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            env=dict(os.environ), start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + self._limits.seconds
            while process.poll() is None:
                if self._is_interrupted(hunt):
                    if hunt.hunt_id not in self._cancelled:  # not a failed start
                        self._change(hunt, starts=hunt.starts - 1)
                    raise _Interrupted
                if time.monotonic() >= deadline:
                    return Outcome(error=f"no result within {self._limits.seconds:g} s")
                try:
                    process.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            _end(process)
        outcome = job.outcome()
        if outcome is not None:
            return outcome
        return Outcome(
            error=f"the process of the hunt ended with {process.returncode}. It may have needed"
            " more memory than it may have."
        )

    def _publish(self, hunt: Hunt, job: HuntJob) -> None:
        """Publish all findings. A repetition changes nothing: the identifiers are the same."""
        published = 0
        with job.findings.open("rb") as file:
            while lines := list(itertools.islice(file, _PUBLISHED_TOGETHER)):
                messages = [_message(_decode_finding(line)) for line in lines]
                if not self._is_stored(hunt, messages):
                    self._fail(hunt, "The broker did not store the findings.")
                    return
                published += len(messages)
                hunt = self._change(hunt, published=published)
        self._finish(hunt, HuntState.COMPLETED)

    def _is_stored(self, hunt: Hunt, messages: Sequence[Message]) -> bool:
        """Publish messages, several times if necessary.

        Raises:
            _Interrupted: the hunt was cancelled, or the archive process stops.
        """
        for _ in range(_MAX_ATTEMPTS):
            if self._is_interrupted(hunt):
                raise _Interrupted
            try:
                self._publish_messages(messages, _CONFIRM_SECONDS)
            except Unavailable as error:
                log.warning("findings of a hunt wait", error=str(error))
                self._sleep(hunt)
            else:
                return True
        return False

    def _sleep(self, hunt: Hunt) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_interrupted(hunt), self._retry_seconds)
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


def _message(found: Finding) -> Message:
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=f"finding.{found.severity.value.lower()}",
        body=finding.encode(found),
        message_id=str(found.finding_id),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process: it ends itself when its standard input ends."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
