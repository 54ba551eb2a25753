"""Background work of the end-to-end test. The result is read later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Beside(Generic[T]):
    """A function that runs on a thread of its own from now on."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        # A run that fails elsewhere does not wait for it.
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def result(self) -> T:
        """What it returned, or raise what it raised; waits for it."""
        return self._future.result()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            self._future.set_exception(error)
