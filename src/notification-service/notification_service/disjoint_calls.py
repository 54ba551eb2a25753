"""Calls a function for several parts in parallel, except for parts with common keys.

While one transaction waits for PostgreSQL, the next is prepared. Parts with a common key are
handled in their order, so the result is the same as if all parts were handled in their order.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

P = TypeVar("P")
R = TypeVar("R")


class DisjointCalls:
    """Handles up to ``parallel`` parts at the same time, in threads."""

    def __init__(self, parallel: int, *, name: str) -> None:
        self._parallel = parallel
        self._threads = (
            ThreadPoolExecutor(parallel, thread_name_prefix=name) if parallel > 1 else None
        )

    def run(
        self,
        parts: Iterable[P],
        handle: Callable[[P], R],
        *,
        keys: Callable[[P], frozenset[Any]],
        done: Callable[[R], None],
    ) -> None:
        """Call ``handle`` for each part, and ``done`` with each result in the caller's thread.

        If a call fails, no further call begins. The calls in progress are completed, ``done`` gets
        their results, and then the error is raised.
        """
        parts = list(parts)
        if self._threads is None or len(parts) < 2:
            for part in parts:
                done(handle(part))
            return
        running: dict[Future[R], frozenset[Any]] = {}
        try:
            for part in parts:
                used = keys(part)
                while len(running) >= self._parallel or not all(
                    used.isdisjoint(other) for other in running.values()
                ):
                    completed, _ = wait(running, return_when=FIRST_COMPLETED)
                    _finish(running, completed, done)
                running[self._threads.submit(handle, part)] = used
        finally:
            completed, _ = wait(running)
            _finish(running, completed, done)


def _finish(
    running: dict[Future[R], Any], completed: Iterable[Future[R]], done: Callable[[R], None]
) -> None:
    """Remove completed calls. Raise the error of one after the results of the others."""
    completed = sorted(completed, key=lambda future: future.exception() is not None)
    for future in completed:
        del running[future]
    for future in completed:
        done(future.result())
