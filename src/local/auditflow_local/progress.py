"""Progress output: one line for each step, with its duration."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Progress:
    """Prints steps. Without a terminal, the lines have no colour and no spinner."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._running: list[str] = []
        self._status: Status | None = None
        self._lock = Lock()

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Print a step with its duration. Several steps may run in parallel."""
        start = time.monotonic()
        self._show(text, on=True)
        try:
            yield
        except BaseException:
            self._show(text, on=False)
            self.console.print(f" [red]✗[/] {escape(text)}")
            raise
        self._show(text, on=False)
        self.console.print(f" [green]✓[/] {escape(text):<44} {time.monotonic() - start:5.1f} s")

    def info(self, text: str) -> None:
        """Print a message."""
        self.console.print(f" [yellow]•[/] {escape(text)}")

    def pause(self) -> None:
        """Stop the spinner, so that another program can ask for a password."""
        with self._lock:
            if self._status:
                self._status.stop()
                self._status = None

    def _show(self, text: str, *, on: bool) -> None:
        with self._lock:
            if on:
                self._running.append(text)
            else:
                self._running.remove(text)
            if not self.console.is_terminal:
                return
            if not self._running:
                if self._status:
                    self._status.stop()
                    self._status = None
                return
            if self._status is None:
                self._status = self.console.status("")
                self._status.start()
            self._status.update(", ".join(map(escape, self._running)))
