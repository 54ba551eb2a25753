"""Waits for a condition in tests. The limit is long, because a slow machine must fail no test."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

#: The limit of each wait of a test. A wait ends as soon as its condition holds.
WAIT_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.02


def eventually(
    condition: Callable[[], T], *, what: str = "the condition", seconds: float = WAIT_SECONDS
) -> T:
    """Return the first result of ``condition`` that is true.

    Raises:
        AssertionError: no result was true within the limit. The text has the last result.
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} is {result!r:.500} after {seconds:g} s")
        time.sleep(_POLL_SECONDS)
    return result
