"""The time that a fuzz test may use."""

import os
import time
from collections.abc import Callable
from typing import Final

#: Time of one fuzz test in ``make soak``, in seconds. FUZZ_SECONDS overrides it.
DEFAULT_SECONDS: Final = 15.0


def repeat(run: Callable[[], None]) -> None:
    """Call a property of Hypothesis again and again, until the time is over. At least once."""
    end = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", DEFAULT_SECONDS))
    while True:
        run()
        if time.monotonic() >= end:
            return
