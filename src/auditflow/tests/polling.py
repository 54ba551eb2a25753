"""Waits for a condition."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
