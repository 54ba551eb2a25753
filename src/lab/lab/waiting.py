"""Waiting for what will be so: ask again and again until a deadline, never sleep for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import NotInTime

T = TypeVar("T")

#: A busy machine is waited for three times as long as two idle cores need.
_PATIENCE = 3


def until(
    ask: Callable[[], T],
    what: str,
    *,
    seconds: float,
    every: float = 0.2,
    meanwhile: Callable[[], object] | None = None,
) -> T:
    """Ask until the answer is true and return it.

    An :exc:`AssertionError` of ``ask`` means "not yet", and its text says why when time is up.

    :param what: the state that is waited for, for the error.
    :param seconds: what a machine with nothing else to do needs, at most.
    :param meanwhile: called between two questions; what it raises ends the waiting.
    :raises NotInTime: with the last answer.
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
        if meanwhile is not None:
            meanwhile()
        if time.monotonic() > deadline:
            raise NotInTime(what, _PATIENCE * seconds, last)
        time.sleep(every)
