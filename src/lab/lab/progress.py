"""Progress output: steps and their durations."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Text and duration in seconds of each completed step, in the order of completion.
durations: list[tuple[str, float]] = []


def info(text: str) -> None:
    """Print a line at once, without pytest's capture."""
    stream = sys.__stderr__ or sys.stderr
    stream.write(f" • {text}\n")
    stream.flush()


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print the start of a step, and its duration when it has succeeded."""
    info(f"{text} …")
    start = time.monotonic()
    yield
    elapsed = time.monotonic() - start
    durations.append((text, elapsed))
    info(f"{text}: {elapsed:.1f} s")
