"""Lines for the person who waits: what is being done, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print a line at once, past pytest's capture, since a build may take minutes."""
    stream = sys.__stderr__ or sys.stderr
    stream.write(f" • {text}\n")
    stream.flush()


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a piece of work, and say how long it took when it has succeeded."""
    say(f"{text} …")
    start = time.monotonic()
    yield
    say(f"{text}: {time.monotonic() - start:.1f} s")
