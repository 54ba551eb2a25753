"""The time that the fuzz tests may use, and the place of inputs that failed."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis.database import (
    DirectoryBasedExampleDatabase,
    MultiplexedDatabase,
    ReadOnlyDatabase,
)

#: Time of all fuzz tests in ``make soak``, in seconds. FUZZ_SECONDS overrides it.
DEFAULT_SECONDS: Final = 40.0
#: The number of fuzz tests in this run; ``conftest`` sets it.
number_of_tests = 1

#: Inputs of the repository that failed once. Each run tries them first. Hypothesis deletes inputs
#: that do not fail any more, so this folder is only read.
CORPUS: Final = Path(__file__).parent / "corpus"
#: New inputs that failed. corpus/README.md states how to add them to the repository.
FOUND: Final = Path(__file__).parents[3] / ".hypothesis" / "fuzz"
PROFILE: Final = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=MultiplexedDatabase(
        DirectoryBasedExampleDatabase(FOUND),
        ReadOnlyDatabase(DirectoryBasedExampleDatabase(CORPUS)),
    ),
)


def repeat(run: Callable[[], None]) -> None:
    """Call a property of Hypothesis again and again, until its time is over. At least once."""
    total = float(os.environ.get("FUZZ_SECONDS", DEFAULT_SECONDS))
    end = time.monotonic() + total / number_of_tests
    while True:
        run()
        if time.monotonic() >= end:
            return
