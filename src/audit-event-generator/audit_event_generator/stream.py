"""The synthetic stream: the story, published at a set rate."""

import datetime as dt
import math
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from audit_event_generator.delivery import Delivery
from audit_event_generator.ingest.sealing import Sealed, seal
from audit_event_generator.metrics import Metrics
from audit_event_generator.scenarios import story
from auditflow.amqp.connection import retry_until_stopped
from auditflow.errors import Unavailable
from auditflow.telemetry import logs, tracing

#: At high rates events go out together, so often.
_TICK_SECONDS: Final = 0.05
#: A stream that is so late does not run after what it missed.
_GIVE_UP_SECONDS: Final = 1.0

log = logs.get(__name__)


class Schedule:
    """How many events are due, by a clock that never jumps. Errors do not add up."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Begin anew: what was missed is missed."""
        self._start, self._done = self._clock(), 0

    def due(self) -> int:
        """Events that should be out by now and are not."""
        return math.floor((self._clock() - self._start) * self._rate) - self._done

    def advance(self, count: int) -> None:
        """So many more are out."""
        self._done += count

    def wait_seconds(self) -> float:
        """Until the next event is due, or the next tick where events come faster."""
        next_at = self._start + (self._done + 1) / self._rate
        return max(next_at - self._clock(), _TICK_SECONDS if self._rate * _TICK_SECONDS > 1 else 0)


class Stream:
    """Publishes the story on a thread of its own, and waits while the broker is away."""

    def __init__(self, delivery: Delivery, metrics: Metrics, *, rate: float, seed: int) -> None:
        self._delivery = delivery
        self._metrics = metrics
        self._rate = rate
        self._seed = seed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        metrics.stream_rate.set(rate)

    def start(self) -> None:
        """Begin to publish; returns at once. At rate 0 it does nothing."""
        if self._rate:
            log.info("stream starts", rate=self._rate, seed=self._seed)
            self._thread.start()

    def ask_to_stop(self) -> None:
        """Publish nothing new; returns at once."""
        self._stop.set()

    def stop(self) -> None:
        """Finish what is being published, and end."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(timeout=3)

    def alive(self) -> str | None:
        """None while the thread does what it should, else that it ended."""
        if not self._rate or self._stop.is_set() or self._thread.is_alive():
            return None
        return "the synthetic stream has ended"

    # What follows runs on the stream's own thread.

    def _run(self) -> None:
        told = story.tell(self._seed, lambda: dt.datetime.now(dt.UTC))
        schedule = Schedule(self._rate)
        while not self._stop.wait(schedule.wait_seconds()):
            due = schedule.due()
            if due > max(1.0, self._rate * _GIVE_UP_SECONDS):
                log.warning("stream is late and goes on from now", missed=due)
                schedule.restart()
            elif due > 0 and self._publish(self._events(told, due)):
                schedule.advance(due)
            elif due > 0:
                schedule.restart()
        self._metrics.stream_running.set(0)

    def _events(self, told: Iterator[story.Told], count: int) -> list[Sealed]:
        events = []
        for one in islice(told, count):
            if one.begins is not None:
                self._metrics.scenarios.labels(one.begins).inc()
                log.info("scenario begins", scenario=one.begins, user=one.event.user_id)
            events.append(seal(one.event))
        return events

    def _publish(self, events: list[Sealed]) -> bool:
        """Publish; False when that took more than one attempt. The events are kept meanwhile."""
        attempts = retry_until_stopped(self._stop, Unavailable, report=self._pause)
        try:
            with tracing.span("synthetic events"):
                attempts(self._delivery.deliver, "synthetic", events)
        except Unavailable as error:
            log.warning("events given up at the end", events=len(events), error=str(error))
            return False
        self._metrics.stream_running.set(1)
        return bool(attempts.statistics["attempt_number"] == 1)

    def _pause(self, error: BaseException, seconds: float) -> None:
        self._metrics.stream_running.set(0)
        log.warning("stream paused", error=str(error), retry_in=round(seconds, 1))
