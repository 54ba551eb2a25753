"""Progress output: steps and their durations."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


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
    info(f"{text}: {time.monotonic() - start:.1f} s")
