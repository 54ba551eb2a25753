"""The threads that route, flush and send. Every replica runs them."""

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from auditflow.errors import Unavailable
from auditflow.telemetry import logs
from notification_service.outbox.backoff import wait_after
from notification_service.outbox.flusher import Flusher, Hiding
from notification_service.outbox.metrics import STATUSES, Metrics
from notification_service.outbox.queue import LEASE, Claim, Queue
from notification_service.outbox.router import Router
from notification_service.receivers.delivery import DeliveryError, Message, Sender
from notification_service.receivers.guard import OPEN_SECONDS, Guard
from notification_service.routing.tree import Receiver, Tree
from notification_service.routing.tree_file import TreeFile

#: The time that a thread waits when there is nothing to do, in seconds.
IDLE_SECONDS: Final = 0.5
#: The same time after the database was unavailable.
OUTAGE_SECONDS: Final = 2.0
#: The time between two checks of the routing file, in seconds.
RELOAD_SECONDS: Final = 5.0
#: The time between two checks of the routes of old groups, in seconds.
CHECK_SECONDS: Final = 15.0
#: Threads that send, for all receivers together.
SENDERS: Final = 8
#: Threads of receivers that neither answered nor failed, after which the process ends.
MAX_ABANDONED: Final = 64
#: A notification has more attempts than its receiver allows for at most this time: if the receiver
#: asks to wait, or if each process ends while it sends.
PATIENCE: Final = dt.timedelta(days=1)

log = logs.get(__name__)


class _Loop:
    """A thread that does a step again and again until it is stopped.

    A step returns whether there was something to do. An error that is not expected ends the
    thread, and with it the process (``alive``).
    """

    def __init__(
        self, name: str, step: Callable[[], bool], *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._step = step
        self._idle_seconds = idle_seconds
        self._stop = threading.Event()
        self._failed: str | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self, seconds: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def alive(self) -> str | None:
        return self._failed

    def _run(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            try:
                wait = 0.0 if self._step() else self._idle_seconds
            except Unavailable as error:
                log.warning("notifications wait for the database", error=str(error))
                wait = OUTAGE_SECONDS
            except Exception as error:
                log.exception("a thread of notifications failed", exc_info=error)
                self._failed = f"the thread {self._thread.name} failed"
                return


class TreeFileWorker:
    """Reads the routing file again when it changes."""

    def __init__(self, file: TreeFile) -> None:
        self._file = file
        self._last_error: str | None = None
        self._loop = _Loop("notification-routes", self._step, idle_seconds=RELOAD_SECONDS)
        self.start, self.stop, self.join = self._loop.start, self._loop.stop, self._loop.join
        self.alive = self._loop.alive

    def _step(self) -> bool:
        if self._file.refresh():
            log.info("routing file loaded", receivers=len(self._file.tree.receivers))
        error = self._file.error()
        if error is not None and error != self._last_error:
            log.error("routing file refused; the previous file is used", error=error)
        self._last_error = error
        return False


class RoutingWorker:
    """Routes changed alerts and flushes groups."""

    def __init__(
        self,
        *,
        file: TreeFile,
        router: Router,
        flusher: Flusher,
        hiding: Hiding,
        metrics: Metrics,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._file = file
        self._clock = clock
        self._router = router
        self._flusher = flusher
        self._hiding = hiding
        self._metrics = metrics
        self._checked = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._loop = _Loop("notification-routing", self._step)
        self.start, self.stop, self.join = self._loop.start, self._loop.stop, self._loop.join
        self.alive = self._loop.alive

    def _step(self) -> bool:
        now = self._clock()
        if now >= self._checked + dt.timedelta(seconds=CHECK_SECONDS):
            self._router.adopt(self._file.tree)
            self._checked = now
        tree = self._file.tree
        routed = self._router.route(tree, now=self._clock())
        self._metrics.routed.inc(routed)
        flushed = self._flusher.flush(tree, self._hiding, now=self._clock())
        self._metrics.created.inc(flushed.notifications)
        if flushed.notifications:
            log.info(
                "notifications created",
                groups=flushed.groups,
                notifications=flushed.notifications,
            )
        return bool(routed or flushed.groups)


class _Sending(Struct, frozen=True):
    """What a thread sends. ``started_at`` is a time of ``time.monotonic``."""

    receiver: str
    guard: Guard
    started_at: float


class SendingWorker:
    """Claims notifications and sends them."""

    def __init__(
        self,
        *,
        file: TreeFile,
        queue: Queue,
        make_sender: Callable[[Tree, Receiver], Sender],
        metrics: Metrics,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._file = file
        self._clock = clock
        self._queue = queue
        self._make_sender = make_sender
        self._metrics = metrics
        self._version = -1
        self._guards: dict[str, Guard] = {}
        self._senders: dict[str, Sender] = {}
        self._checked = dt.datetime.min.replace(tzinfo=dt.UTC)
        # Daemon threads of their own: a receiver that hangs must not keep the process from ending.
        self._slots = threading.BoundedSemaphore(SENDERS)
        self._sending: dict[threading.Thread, _Sending] = {}
        self._ending = threading.Lock()
        self._abandoned = 0
        self._loop = _Loop("notification-sending", self._step)
        self.start, self.alive = self._loop.start, self._failure

    def stop(self) -> None:
        """Claim nothing more. What is being sent is finished."""
        self._loop.stop()

    def join(self, seconds: float) -> None:
        """Wait for what is being sent. Sends that take longer are repeated after a restart."""
        deadline = time.monotonic() + seconds
        self._loop.join(seconds)
        for thread in tuple(self._sending):
            thread.join(max(0.0, deadline - time.monotonic()))

    def circuits(self) -> dict[str, bool]:
        """The receivers, and whether the circuit of each is open."""
        return {name: guard.open for name, guard in self._guards.items()}

    def _step(self) -> bool:
        self._take_tree()
        now = self._clock()
        if now >= self._checked + dt.timedelta(seconds=CHECK_SECONDS):
            self._check(now)
        busy = False
        waiting = self._queue.waiting(
            list(self._guards), now=now, limit=max(self._limits(), default=0) + 1
        )
        for name, queued in waiting.items():
            guard = self._guards[name]
            if queued.alerts and (queued.digest or queued.alerts > guard.receiver.digest_above):
                merged = self._queue.merge(name, now=now)
                self._metrics.merged.labels(name).inc(merged)
                busy = busy or merged > 0
                continue
            if queued.due:
                busy = self._send_one(guard) or busy
        return busy

    def _limits(self) -> list[int]:
        return [guard.receiver.digest_above for guard in self._guards.values()]

    def _take_tree(self) -> None:
        version = self._file.version
        if version == self._version:
            return
        tree = self._file.tree
        for name in [name for name in self._guards if name not in tree.receivers]:
            self._guards.pop(name).close()
            self._senders.pop(name)
        for name, receiver in tree.receivers.items():
            before = self._guards.get(name)
            if before is None or before.receiver != receiver:
                if before is not None:
                    before.close()
                self._guards[name] = Guard(receiver, on_change=self._circuit_changed)
                for outcome in ("sent", "failed", "dead"):
                    self._metrics.attempts.labels(name, outcome)
            self._senders[name] = self._make_sender(tree, receiver)
        self._version = version

    def _circuit_changed(self, name: str, opened: bool) -> None:
        self._metrics.breaker.labels(name).set(opened)

    def _check(self, now: dt.datetime) -> None:
        self._abandon()
        self._queue.release(now=now)
        self._queue.remove_old(now=now)
        if self._guards:
            self._queue.bury_orphans(list(self._guards), now=now)
        for status, number in self._queue.counts().items():
            assert status in STATUSES
            self._metrics.stored.labels(status).set(number)
        self._checked = now

    def _send_one(self, guard: Guard) -> bool:
        if not self._slots.acquire(blocking=False):
            return False
        claims: list[Claim] = []
        entered = False
        try:
            entered = guard.enter()
            if entered:
                claims = self._queue.claim(guard.receiver.name, now=self._clock(), limit=1)
        finally:
            if not claims:
                self._slots.release()
                if entered:
                    guard.leave()
        for claim in claims:
            thread = threading.Thread(
                target=self._deliver,
                args=(guard, claim),
                name=f"notification-send-{claim.receiver}",
                daemon=True,
            )
            self._sending[thread] = _Sending(claim.receiver, guard, time.monotonic())
            thread.start()
        return bool(claims)

    def _deliver(self, guard: Guard, claim: Claim) -> None:
        try:
            self._attempt(guard, claim)
        except Unavailable as error:
            # Whether it was sent is not stored. It is sent again, with the same identifier.
            log.warning("a delivery could not be recorded", error=str(error))
        except Exception as error:
            log.exception("a delivery failed in an unexpected way", exc_info=error)
        finally:
            self._end(threading.current_thread())

    def _attempt(self, guard: Guard, claim: Claim) -> None:
        about = {
            "notification_id": str(claim.notification_id),
            "receiver": claim.receiver,
            "attempt": claim.attempt,
        }
        try:
            to = self._send(guard, claim)
        except DeliveryError as error:
            outcome = self._failed(guard, claim, error)
            log.warning("notification not sent", outcome=outcome, error=str(error), **about)
        else:
            self._queue.sent(claim, to=to, now=self._clock())
            self._metrics.seconds.observe((self._clock() - claim.created_at).total_seconds())
            outcome = "sent"
            alerts = claim.content.total if claim.content else 0
            log.info("notification sent", to=to, alerts=alerts, **about)
        self._metrics.attempts.labels(claim.receiver, outcome).inc()

    def _send(self, guard: Guard, claim: Claim) -> str:
        is_old = self._clock() - claim.created_at > PATIENCE
        if is_old and claim.attempt > guard.receiver.max_attempts:
            raise DeliveryError("each replica that sent it ended before the answer", permanent=True)
        if claim.content is None:
            raise DeliveryError("this version of the service cannot read its content")
        sender = self._senders[claim.receiver]
        message = Message(
            notification_id=claim.notification_id,
            receiver=claim.receiver,
            content=claim.content,
            created_at=claim.created_at,
            delivered=claim.delivered,
        )
        try:
            return guard.call(lambda: sender.send(message))
        except (DeliveryError, Unavailable):
            raise
        except Exception as error:
            log.exception("a receiver failed in an unexpected way", exc_info=error)
            raise DeliveryError(f"an unexpected error: {type(error).__name__}") from None

    def _failed(self, guard: Guard, claim: Claim, error: DeliveryError) -> str:
        now = self._clock()
        last = error.permanent or claim.attempt >= guard.receiver.max_attempts
        if error.retry_after is not None:
            guard.hold(error.retry_after.total_seconds())
            last = last and now - claim.created_at > PATIENCE
        wait = max(wait_after(claim.attempt), error.retry_after or dt.timedelta())
        again_at = None if last else now + wait
        self._queue.failed(
            claim, error=str(error), again_at=again_at, now=now, delivered=error.delivered
        )
        return "dead" if last else "failed"

    def _end(self, thread: threading.Thread) -> None:
        """Return the right to send of a thread, once."""
        with self._ending:
            sending = self._sending.pop(thread, None)
        if sending is not None:
            sending.guard.leave()
            self._slots.release()

    def _abandon(self) -> None:
        """Let others send while a receiver neither answers nor fails.

        The lease of the notification has ended, so it is sent again. A thread cannot be ended, and
        holds the circuit breaker, so the receiver gets a new guard.
        """
        border = time.monotonic() - LEASE.total_seconds()
        for thread, sending in tuple(self._sending.items()):
            if sending.started_at < border:
                log.error("a receiver neither answers nor fails", receiver=sending.receiver)
                self._end(thread)
                self._abandoned += 1
                if self._guards.get(sending.receiver) is sending.guard:
                    guard = Guard(sending.guard.receiver, on_change=self._circuit_changed)
                    guard.hold(OPEN_SECONDS)
                    self._guards[sending.receiver] = guard
                    sending.guard.close()

    def _failure(self) -> str | None:
        if self._abandoned >= MAX_ABANDONED:
            return f"{self._abandoned} threads wait for receivers that neither answer nor fail"
        return self._loop.alive()
