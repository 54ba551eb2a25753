"""Publish synthetic events at a configured rate."""

import datetime as dt
import math
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.ingest.encoding import EncodedEvent, encode
from audit_event_generator.ingest.sources import SYNTHETIC
from audit_event_generator.metrics import Metrics
from audit_event_generator.scenarios import workload
from auditflow.amqp.connection import retry_until_stopped
from auditflow.errors import Unavailable
from auditflow.telemetry import logs, tracing
from auditflow.worker import Worker

#: Interval between two batches at high rates, in seconds.
_TICK_SECONDS: Final = 0.05
#: Maximum delay, in seconds. After a longer delay the missed events are skipped.
_MAX_DELAY_SECONDS: Final = 1.0

log = logs.get(__name__)


class Schedule:
    """Computes how many events are due. Rounding errors do not accumulate.

    ``rate`` is in events per second; ``clock`` is monotonic, in seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Start again now, and skip the events that were missed."""
        self._start, self._published = self._clock(), 0

    def due(self) -> int:
        """Return the number of events that should have been published by now."""
        return math.floor((self._clock() - self._start) * self._rate) - self._published

    def advance(self, count: int) -> None:
        """Count published events."""
        self._published += count

    def wait_seconds(self) -> float:
        """Return the seconds until the next event is due, at least one tick at high rates."""
        next_at = self._start + (self._published + 1) / self._rate
        return max(next_at - self._clock(), _TICK_SECONDS if self._rate * _TICK_SECONDS > 1 else 0)


class SyntheticStream:
    """Publishes synthetic events on its own thread. Waits while the broker is unavailable."""

    def __init__(
        self, event_publisher: EventPublisher, metrics: Metrics, *, rate: float, seed: int
    ) -> None:
        """``rate`` is in events per second. The same ``seed`` gives the same events."""
        self._event_publisher = event_publisher
        self._metrics = metrics
        self._rate = rate
        self._seed = seed
        self._stop = threading.Event()
        self._worker = Worker("stream", self._run)
        metrics.stream_rate.set(rate)

    def start(self) -> None:
        """Start publishing, and return immediately. Rate 0 means that the stream is off."""
        if self._rate:
            log.info("the synthetic stream starts", rate=self._rate, seed=self._seed)
            self._worker.start()

    def request_stop(self) -> None:
        """Stop before the next batch; returns immediately."""
        self._stop.set()

    def stop(self) -> None:
        """Finish the current batch, and end the thread."""
        self.request_stop()
        self._worker.stop(timeout=3)

    def alive(self) -> str | None:
        """Why the thread does not run; None while it runs or is not needed."""
        if not self._rate or self._stop.is_set():
            return None
        return self._worker.check()

    # The methods below run on the stream's thread.

    def _run(self) -> None:
        workload_events = workload.generate(self._seed, lambda: dt.datetime.now(dt.UTC))
        schedule = Schedule(self._rate)
        while not self._stop.wait(schedule.wait_seconds()):
            due = schedule.due()
            if due > max(1.0, self._rate * _MAX_DELAY_SECONDS):
                log.warning("the synthetic stream is late and skips events", skipped=due)
                schedule.restart()
            elif due > 0 and self._publish(self._next_events(workload_events, due)):
                schedule.advance(due)
            elif due > 0:
                schedule.restart()
        self._metrics.stream_running.set(0)

    def _next_events(
        self, workload_events: Iterator[workload.WorkloadEvent], count: int
    ) -> list[EncodedEvent]:
        events = []
        for item in islice(workload_events, count):
            if item.starts_scenario is not None:
                self._metrics.scenarios.labels(item.starts_scenario).inc()
                log.info("scenario starts", scenario=item.starts_scenario, user=item.event.user_id)
            events.append(encode(item.event))
        return events

    def _publish(self, events: list[EncodedEvent]) -> bool:
        """Publish events, and keep them until they are confirmed.

        Returns False if the first attempt failed.
        """
        attempts = retry_until_stopped(self._stop, Unavailable, report=self._pause)
        try:
            with tracing.span("synthetic events"):
                attempts(self._event_publisher.publish, SYNTHETIC, events)
        except Unavailable as error:
            log.warning("events dropped at shutdown", events=len(events), error=str(error))
            return False
        self._metrics.stream_running.set(1)
        return bool(attempts.statistics["attempt_number"] == 1)

    def _pause(self, error: BaseException, seconds: float) -> None:
        self._metrics.stream_running.set(0)
        log.warning(
            "the synthetic stream waits for the broker",
            error=str(error),
            retry_in=round(seconds, 1),
        )
