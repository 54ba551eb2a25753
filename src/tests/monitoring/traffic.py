"""Traffic for the tests of monitoring: sources that send attacks, and clients that read alerts."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import msgspec
from src.tests.events import failed_login
from src.tests.platform import Platform

from auditflow_local.polling import eventually


class Traffic:
    """Sends attacks and reads alerts in a thread, until ``stop``."""

    def __init__(self, platform: Platform, name: str) -> None:
        self._platform = platform
        self._name = name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)
        self.rounds = 0
        #: Longest time until a client received its answer, in seconds.
        self.slowest = 0.0

    def run(self) -> None:
        platform = self._platform
        with platform.ingest() as source, platform.api() as api, platform.analyst() as analyst:
            while not self._stop.wait(0.05):
                self._round(source, api, analyst)
                self.rounds += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self) -> None:
        self._thread.join()

    def wait_for_rounds(self, rounds: int) -> None:
        """Wait until the given number of further rounds has ended. Fails if the thread has ended."""
        last_round = self.rounds + rounds
        eventually(
            lambda: self.rounds >= last_round or not self._thread.is_alive(),
            what="rounds of traffic",
        )
        assert self._thread.is_alive(), "the thread of the traffic has ended"

    def _round(self, source: httpx.Client, api: httpx.Client, analyst: httpx.Client) -> None:
        user = f"{self._name}-{self.rounds}"
        events = [failed_login(f"{user}-{number}", user, at=number) for number in range(3)]
        lines = b"\n".join(msgspec.json.encode(event) for event in events)
        with suppress(httpx.TransportError):  # a stopped service gives no answer
            source.post("/ingest/ndjson", content=lines)
        for client in (api, analyst):
            started = time.monotonic()
            with suppress(httpx.TransportError):
                client.get("/alerts")
            self.slowest = max(self.slowest, time.monotonic() - started)


@contextmanager
def traffic(platform: Platform, name: str, *, rounds: int) -> Iterator[Traffic]:
    """Traffic until the block ends. The block starts after ``rounds`` rounds."""
    running = Traffic(platform, name)
    running.start()
    try:
        running.wait_for_rounds(rounds)
        yield running
    finally:
        running.stop()
        running.join()
