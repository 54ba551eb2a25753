"""Protection of one receiver: a circuit breaker, a token bucket, and one send at a time.

Each replica has its own. A limit of 60 per minute is therefore 60 per minute and replica.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pybreaker
from pyrate_limiter import Limiter, Rate, StateBucket, TokenBucket

from notification_service.receivers.delivery import DeliveryError
from notification_service.routing.tree import Receiver

T = TypeVar("T")

#: Failures in a row that open the circuit, and how long it stays open before one attempt is made.
FAILURES: Final = 5
OPEN_SECONDS: Final = 30.0
_MINUTE_MS: Final = 60_000


class Guard(pybreaker.CircuitBreakerListener):
    """Decides whether one more notification may be sent to a receiver now."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        on_change: Callable[[str, bool], None] = lambda name, opened: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.receiver = receiver
        self._on_change = on_change
        self._clock = clock
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES,
            reset_timeout=OPEN_SECONDS,
            throw_new_error_on_trip=False,
            # A receiver that refuses one notification works.
            exclude=[lambda error: isinstance(error, DeliveryError) and error.permanent],
            listeners=[self],
            name=receiver.name,
        )
        rate = Rate(receiver.rate_per_minute, _MINUTE_MS, burst=receiver.burst)
        self._bucket = Limiter(StateBucket([rate], algorithm=TokenBucket()))
        self._busy = threading.Lock()
        self._opened_at: float | None = None
        self._held_until = 0.0
        on_change(receiver.name, False)

    @property
    def open(self) -> bool:
        """Whether the circuit is open: nothing is sent, except one attempt after a while."""
        return self._opened_at is not None

    def enter(self) -> bool:
        """Take the right to send one notification; ``leave`` returns it.

        False: a notification is being sent, the circuit is open, the rate is reached, or the
        receiver asked to wait.
        """
        if self._clock() < self._held_until:
            return False
        opened_at = self._opened_at
        if opened_at is not None and self._clock() < opened_at + OPEN_SECONDS:
            return False
        if not self._busy.acquire(blocking=False):
            return False
        if not self._bucket.try_acquire(self.receiver.name, blocking=False):
            self._busy.release()
            return False
        return True

    def hold(self, seconds: float) -> None:
        """Send nothing for this time, because the receiver asked for it."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def leave(self) -> None:
        """Return the right to send."""
        self._busy.release()

    def call(self, send: Callable[[], T]) -> T:
        """Send, and count a failure.

        Raises:
            DeliveryError: the receiver did not accept it, or the circuit is still open.
        """
        try:
            result: T = self._breaker.call(send)
        except pybreaker.CircuitBreakerError:
            raise DeliveryError("the circuit breaker of the receiver is open") from None
        return result

    def close(self) -> None:
        """End what the token bucket runs."""
        self._bucket.close()

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        """Called by the circuit breaker."""
        del cb, old_state
        opened = new_state.name == pybreaker.STATE_OPEN
        if opened:
            self._opened_at = self._clock()
        elif new_state.name == pybreaker.STATE_CLOSED:
            self._opened_at = None
        self._on_change(self.receiver.name, self._opened_at is not None)
