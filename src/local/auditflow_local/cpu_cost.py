"""CPU time of a piece of work, as a ratio to a minimal piece of work in the same process.

Both run in turns, so that the load of the machine and the speed of its cores affect both. The clock
counts CPU time only.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Final

#: Number of rounds. The ratio is their median.
ROUNDS: Final = 7

Work = Callable[[], object]


def do_nothing() -> None:
    """The default of ``before_each``."""


def ratio(
    work: Work,
    bare: Work,
    *,
    before_each: Work = do_nothing,
    clock: Callable[[], float] = time.thread_time,
) -> float:
    """The CPU time of ``work`` divided by that of ``bare``: the median of some rounds.

    ``before_each`` prepares a round and is not measured.

    Both must take at least some milliseconds. ``clock`` is ``time.process_time`` if the work uses
    several threads of this process.
    """
    ratios = []
    for _ in range(ROUNDS):
        before_each()
        seconds = _measure(work, clock)
        ratios.append(seconds / _measure(bare, clock))
    return median(ratios)


def _measure(work: Work, clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start
