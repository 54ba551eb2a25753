"""Someone who asks for the same thing all the time, while others change what answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

#: Instead of a status, where there was no answer.
NO_ANSWER = 0


@contextmanager
def asking(client: httpx.Client, path: str) -> Iterator[Counter[int]]:
    """Ask for as long as the block runs; the answers, counted by status."""
    seen: Counter[int] = Counter()
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.2):
            try:
                # A new connection each time, so that each of the pods has its share.
                answer = client.get(path, headers={"Connection": "close"})
            except httpx.TransportError:
                seen[NO_ANSWER] += 1
            else:
                seen[answer.status_code] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
