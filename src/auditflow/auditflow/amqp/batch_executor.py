"""Batches on their way through a handler, on a thread of their own, in order.

So that the consumer's thread reads, and prepares the next batch, while a handler waits for servers.
What a handler has begun for one batch may end while it works on the next.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from msgspec import Struct
from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, wait_fixed

from auditflow.amqp.connection import until_stopped
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.amqp.delivery import Delivery
from auditflow.amqp.metrics import QueueMetrics
from auditflow.errors import Unavailable
from auditflow.telemetry import logs

#: How often a message that fails alone is tried before it is set aside.
ATTEMPTS: Final = 3

T = TypeVar("T")

log = logs.get(__name__)


def as_it_is(batch: Any) -> Any:
    """The step that does nothing."""
    return batch


def nothing() -> None:
    """There is nothing to do."""


def never(begun: Any, prepared: Any) -> bool:
    """No batch is begun before the one before it is done."""
    return False


class Steps(Struct, frozen=True, kw_only=True):
    """What is done with a batch, one step with the result of the other.

    ``prepare`` gets its deliveries and waits for nobody. ``handle`` asks servers. ``settle`` waits
    for what the handler left under way, and returns what is to be set aside. The last two may be
    called again, from ``handle`` on, when either raises Unavailable: they bear it.
    ``overlap(begun, prepared)`` says whether the next batch may be handled before the one whose
    handling made ``begun`` is settled. ``rest`` is called when no batch waits: for what can be put
    off.
    """

    handle: Callable[[Any], Any]
    prepare: Callable[[Sequence[Delivery]], Any] = as_it_is
    settle: Callable[[Any], Sequence[DeadLetter]] = as_it_is
    overlap: Callable[[Any, Any], bool] = never
    rest: Callable[[], None] = nothing


class _Handled(Struct, frozen=True):
    """What the handler made of a batch, and how long it took (seconds)."""

    result: Any
    seconds: float


class Abandoned(Exception):
    """The batch is not to be finished: whoever comes next gets it."""


class Flight:
    """A batch, what was made of it so far, and, once it has landed, what is to be set aside."""

    def __init__(
        self,
        batch: Sequence[Delivery],
        prepared: Any,
        *,
        ended: threading.Event,
        on_landed: Callable[[], None],
    ) -> None:
        """``prepared``: an error stands for the preparation that failed with it."""
        self.batch = batch
        self.prepared = prepared
        self.ended = ended
        self.handled: _Handled | None = None
        self.landed = False
        self.dead: Sequence[DeadLetter] = ()
        self.error: BaseException | None = None
        self._on_landed = on_landed

    def land(self, work: Callable[[], Sequence[DeadLetter]]) -> None:
        """Do what is left; how it ends is how the flight ends."""
        try:
            self.dead = work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error
        self.landed = True
        self._on_landed()


class Runway:
    """Lets batches through their steps in the order in which they came.

    ``store`` stores dead letters; it may raise Unavailable, and is then called again until it does
    not, or the flight has ended.
    """

    def __init__(
        self,
        name: str,
        steps: Steps,
        *,
        store: Callable[[Sequence[DeadLetter]], None],
        metrics: QueueMetrics,
    ) -> None:
        self._steps = steps
        self._store = store
        self._metrics = metrics
        self._held: str | None = None
        self._flights: SimpleQueue[Flight] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def open(self) -> None:
        """Begin to work; returns at once."""
        self._thread.start()

    def held(self) -> str | None:
        """None while work goes on, else why the batch in hand has to wait."""
        return self._held

    def start(self, flight: Flight) -> None:
        """Work on a flight after those that were started before it."""
        self._flights.put(flight)

    def _run(self) -> None:
        under_way: Flight | None = None
        while True:
            if under_way is None and self._flights.empty():
                self._rest()
            flight = self._next(wait=under_way is None)
            if under_way is not None and not self._overlap(under_way, flight):
                self._finish(under_way)
                under_way = None
            if flight is None:
                continue
            begun = self._begin(flight)
            if under_way is not None:
                self._finish(under_way)
            if not begun:
                flight.land(partial(self._through, flight))
            under_way = flight if begun else None

    def _next(self, *, wait: bool) -> Flight | None:
        try:
            return self._flights.get(block=wait)
        except Empty:
            return None

    def _rest(self) -> None:
        try:
            self._steps.rest()
        except Unavailable:
            pass  # it is put off again
        except Exception:
            log.exception("what was put off failed")

    def _overlap(self, under_way: Flight, flight: Flight | None) -> bool:
        if flight is None or under_way.handled is None or isinstance(flight.prepared, Exception):
            return False
        return self._steps.overlap(under_way.handled.result, flight.prepared)

    def _begin(self, flight: Flight) -> bool:
        """Try to handle a batch; whether it is under way. If not, it is tried with patience."""
        if flight.ended.is_set():
            return False
        try:
            flight.handled = self._handle(flight.prepared)
        except Exception:  # noqa: BLE001 - said when it happens again
            return False
        return True

    def _finish(self, flight: Flight) -> None:
        """Settle a batch that is under way, or do all of it again."""
        flight.land(partial(self._settled, flight))

    def _settled(self, flight: Flight) -> Sequence[DeadLetter]:
        assert flight.handled is not None
        try:
            dead = self._settle(flight.handled)
        except Exception:  # noqa: BLE001 - said when it happens again
            return self._through(flight)
        return self._aside(flight, dead)

    def _through(self, flight: Flight) -> Sequence[DeadLetter]:
        """All steps, as often as it takes."""
        if flight.ended.is_set():
            raise Abandoned
        try:
            dead = self._patiently(flight, lambda: self._settle(self._handle(flight.prepared)))
        except Abandoned:
            raise
        except Exception:  # whatever one message did must not take the others with it
            log.exception("a batch failed: trying each message alone", messages=len(flight.batch))
            dead = [one for each in flight.batch for one in self._alone(flight, each)]
        return self._aside(flight, dead)

    def _aside(self, flight: Flight, dead: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
        if dead:
            self._patiently(flight, lambda: self._store(dead))
        return dead

    def _handle(self, prepared: Any) -> _Handled:
        if isinstance(prepared, Exception):
            raise prepared
        began = time.perf_counter()
        result = self._steps.handle(prepared)
        return _Handled(result, time.perf_counter() - began)

    def _settle(self, handled: _Handled) -> Sequence[DeadLetter]:
        began = time.perf_counter()
        dead = self._steps.settle(handled.result)
        self._metrics.batch_seconds.observe(handled.seconds + time.perf_counter() - began)
        return dead

    def _alone(self, flight: Flight, delivery: Delivery) -> Sequence[DeadLetter]:
        """Process one message; if it fails by itself, it is poison."""
        attempts = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(0.05),
            retry=retry_if_not_exception_type(Abandoned),
            reraise=True,
        )
        try:
            return attempts(
                self._patiently,
                flight,
                lambda: self._settle(self._handle(self._steps.prepare([delivery]))),
            )
        except Abandoned:
            raise
        except Exception as error:
            log.exception("a message failed alone: it is set aside", message_id=delivery.message_id)
            return [
                DeadLetter(
                    body=delivery.body,
                    reason=f"{type(error).__name__}: {error}",
                    kind="poison",
                    message_id=delivery.message_id,
                    correlation_id=delivery.correlation_id,
                    headers=delivery.headers,
                )
            ]

    def _patiently(self, flight: Flight, work: Callable[[], T]) -> T:
        """Do it, and again while a dependency is down."""

        def report(error: BaseException, seconds: float) -> None:
            self._held = str(error)
            self._metrics.pauses.inc()
            log.warning("consumer paused", error=str(error), retry_in=round(seconds, 1))

        try:
            return until_stopped(flight.ended, Unavailable, report=report)(work)
        except Unavailable as error:
            raise Abandoned from error
        finally:
            self._held = None
