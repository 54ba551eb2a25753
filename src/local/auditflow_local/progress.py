"""What a person sees while things start and stop: a line for each step, with its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Progress:
    """Lines on the terminal; in a log the same lines without colour and movement."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._under_way: list[str] = []
        self._status: Status | None = None
        self._lock = Lock()

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """One step. Several may be under way at once."""
        began = time.monotonic()
        self._show(text, on=True)
        try:
            yield
        except BaseException:
            self._show(text, on=False)
            self.console.print(f" [red]✗[/] {escape(text)}")
            raise
        self._show(text, on=False)
        self.console.print(f" [green]✓[/] {escape(text):<44} {time.monotonic() - began:5.1f} s")

    def say(self, text: str) -> None:
        """A remark."""
        self.console.print(f" [yellow]•[/] {escape(text)}")

    def pause(self) -> None:
        """Nothing moves from now on, so that another program may ask for a password."""
        with self._lock:
            if self._status:
                self._status.stop()
                self._status = None

    def _show(self, text: str, *, on: bool) -> None:
        with self._lock:
            if on:
                self._under_way.append(text)
            else:
                self._under_way.remove(text)
            if not self.console.is_terminal:
                return
            if not self._under_way:
                if self._status:
                    self._status.stop()
                    self._status = None
                return
            if self._status is None:
                self._status = self.console.status("")
                self._status.start()
            self._status.update(", ".join(map(escape, self._under_way)))
