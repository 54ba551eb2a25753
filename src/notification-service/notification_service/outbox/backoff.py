"""When a delivery that failed is tried again."""

import datetime as dt
from typing import Final

from tenacity import RetryCallState, wait_exponential_jitter

FIRST_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 1_800.0
JITTER_SECONDS: Final = 5.0

_WAIT: Final = wait_exponential_jitter(
    multiplier=FIRST_SECONDS, max=LONGEST_SECONDS, jitter=JITTER_SECONDS
)


def wait_after(attempt: int) -> dt.timedelta:
    """The time to wait after an attempt failed. ``attempt`` counts from 1."""
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = min(attempt, 30)
    return dt.timedelta(seconds=_WAIT(state))
