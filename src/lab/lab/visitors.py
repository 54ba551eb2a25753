"""A client that repeats a request while the servers change."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx


@contextmanager
def asking(client: httpx.Client, path: str) -> Iterator[Counter[int | str]]:
    """Repeat a request until the end of the block.

    Yields the number of answers by status. Requests without an answer are counted by the name of
    their error, for example ``ReadTimeout``.
    """
    answers: Counter[int | str] = Counter()
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.2):
            try:
                # A new connection each time, so that requests are spread over the pods.
                answer = client.get(path, headers={"Connection": "close"})
            except httpx.TransportError as error:
                answers[type(error).__name__] += 1
            else:
                answers[answer.status_code] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
