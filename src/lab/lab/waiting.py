"""Polling until a condition is true or a deadline is reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import NotInTime

T = TypeVar("T")

#: Factor for busy machines. Time limits are for two idle cores.
_PATIENCE = 3


def until(
    ask: Callable[[], T],
    what: str,
    *,
    seconds: float,
    every: float = 0.2,
    check: Callable[[], object] | None = None,
) -> T:
    """Call ``ask`` until its result is true, and return the result.

    An :exc:`AssertionError` of ``ask`` means "not yet". Its text is part of the final error.

    :param what: the expected state, for the error.
    :param seconds: maximum time on an idle machine.
    :param check: called between two polls. Its exceptions end the wait.
    :raises NotInTime: contains the last result.
    """
    deadline = time.monotonic() + _PATIENCE * seconds
    while True:
        last: object
        try:
            answer = ask()
            if answer:
                return answer
            last = answer
        except AssertionError as reason:
            last = reason
        if check is not None:
            check()
        if time.monotonic() > deadline:
            raise NotInTime(what, _PATIENCE * seconds, last)
        time.sleep(every)
