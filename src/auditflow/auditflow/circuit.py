"""A circuit breaker and a limit on simultaneous calls (a bulkhead) for calls to a dependency.

After some failures in a row, calls fail at once instead of waiting for a timeout. After a pause one
call is made: if it succeeds, the circuit closes. The limit on simultaneous calls keeps threads free
for other work if the dependency is slow.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import pybreaker
from prometheus_client import CollectorRegistry, Counter, Gauge

from auditflow.errors import Unavailable

#: Failures in a row that open a circuit.
FAILURES: Final = 5
#: The time between a failure of an open circuit and the next call, in seconds.
PAUSE_SECONDS: Final = 2.0
#: Maximum number of simultaneous calls.
LIMIT: Final = 32
#: Why a call was refused.
OPEN: Final = "open"
FULL: Final = "full"


class CallRefused(Unavailable):
    """No call was made. ``cause`` is OPEN or FULL."""

    def __init__(self, dependency: str, cause: str) -> None:
        reason = "its last calls failed" if cause == OPEN else "too many calls are in progress"
        super().__init__(dependency, reason)
        self.cause = cause


class CircuitMetrics:
    """Metrics of all circuits of a process. The names of dependencies are fixed in the code."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge(
            "auditflow_circuit_open",
            "1 while calls to the dependency fail at once, after several failed in a row.",
            ["dependency"],
            registry=registry,
        )
        self._refused = Counter(
            "auditflow_circuit_refused_total",
            "Calls that were not made: the circuit was open, or too many calls were in progress.",
            ["dependency", "reason"],
            registry=registry,
        )
        self._calls = Gauge(
            "auditflow_circuit_calls",
            "Calls to the dependency that are in progress.",
            ["dependency"],
            registry=registry,
        )

    def create(self, dependency: str) -> None:
        """Create the series of a dependency."""
        self.set_open(dependency, opened=False)
        self._calls.labels(dependency)
        for reason in (OPEN, FULL):
            self._refused.labels(dependency, reason)

    def set_open(self, dependency: str, *, opened: bool) -> None:
        """Set whether the circuit is open."""
        self._open.labels(dependency).set(opened)

    def add_refused(self, dependency: str, reason: str) -> None:
        """Count a call that was refused."""
        self._refused.labels(dependency, reason).inc()

    def add_calls(self, dependency: str, number: int) -> None:
        """Change the number of calls in progress."""
        self._calls.labels(dependency).inc(number)


class Circuit(pybreaker.CircuitBreakerListener):
    """Protects the calls to one dependency. It is thread-safe.

    pybreaker counts failures and changes the state. Its own ``call`` is not used for the calls,
    because it makes one call at a time.
    """

    def __init__(
        self,
        dependency: str,
        *,
        counts: tuple[type[BaseException], ...],
        metrics: CircuitMetrics | None = None,
        on_change: Callable[[bool], None] = lambda opened: None,
        failures: int = FAILURES,
        pause_seconds: float = PAUSE_SECONDS,
        limit: int = LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``counts`` are the exceptions that are failures of the dependency.

        ``on_change`` is called when the circuit opens (True) or closes (False). ``failures`` in a
        row open the circuit. ``limit`` is the maximum number of calls at a time.
        """
        self.dependency = dependency
        self._counts = counts
        self._metrics = metrics
        self._on_change = on_change
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._slots = threading.BoundedSemaphore(limit)
        self._trial = threading.Lock()
        self._opened_at: float | None = None
        # `attempt` waits for the pause, so pybreaker need not.
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures, reset_timeout=0, throw_new_error_on_trip=False, listeners=[self]
        )
        if metrics is not None:
            metrics.create(dependency)

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once, except for one after each pause."""
        return self._opened_at is not None

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Make one call in a ``with`` block.

        Raises:
            CallRefused: the circuit is open, or too many calls are in progress.
        """
        opened_at = self._opened_at
        is_trial = opened_at is not None
        if opened_at is not None and (
            self._clock() < opened_at + self._pause_seconds
            or not self._trial.acquire(blocking=False)
        ):
            raise self._refuse(OPEN)
        try:
            if not self._slots.acquire(blocking=False):
                raise self._refuse(FULL)
            try:
                with self._measured():
                    yield
            except self._counts as error:
                self._record(error)
                raise
            except Exception:
                self._record(None)  # The dependency has answered.
                raise
            else:
                self._record(None)
            finally:
                self._slots.release()
        finally:
            if is_trial:
                self._trial.release()

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        """Called by pybreaker."""
        del cb, old_state
        if new_state.name == pybreaker.STATE_HALF_OPEN:
            return
        was_open = self.is_open
        self._opened_at = self._clock() if new_state.name == pybreaker.STATE_OPEN else None
        if was_open != self.is_open:
            if self._metrics is not None:
                self._metrics.set_open(self.dependency, opened=self.is_open)
            self._on_change(self.is_open)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        if self._metrics is not None:
            self._metrics.add_calls(self.dependency, 1)
        try:
            yield
        finally:
            if self._metrics is not None:
                self._metrics.add_calls(self.dependency, -1)

    def _record(self, error: BaseException | None) -> None:
        """Give the result of a call to pybreaker."""

        def result() -> None:
            if error is not None:
                raise _Failure

        with suppress(_Failure, pybreaker.CircuitBreakerError):
            self._breaker.call(result)

    def _refuse(self, reason: str) -> CallRefused:
        if self._metrics is not None:
            self._metrics.add_refused(self.dependency, reason)
        return CallRefused(self.dependency, reason)


class _Failure(Exception):
    pass
