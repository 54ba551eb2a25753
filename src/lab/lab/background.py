"""Background work of the end-to-end test. The result is read later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundTask(Generic[T]):
    """A function that runs on its own thread from now on."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        # A daemon thread, so that a failed run does not wait for it.
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def result(self) -> T:
        """Wait for the function and return its result, or raise its error."""
        return self._future.result()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised by result()
            self._future.set_exception(error)
