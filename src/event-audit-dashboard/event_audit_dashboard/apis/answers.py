"""Keeps answers of an API, so that an unchanged answer is not decoded again.

The API still receives each request. It checks the person's permission and records the read before
it answers. An answer belongs to one person.
"""

import threading
from typing import Any, Final

from cachetools import LRUCache
from msgspec import Struct

#: Maximum size of the kept answers, in bytes. A decoded answer counts twice as much as its body.
MAX_BYTES: Final = 16 * 2**20
#: Memory of an answer in addition to its body and target, in bytes: objects, and the cache's entry.
OVERHEAD: Final = 1024


class Answer(Struct, frozen=True):
    """An answer and what was decoded from it. ``etag`` is None if the API may not compare it."""

    body: bytes
    value: Any
    etag: str | None


#: The person and the target of the request.
_Key = tuple[str | None, str]


class Answers:
    """The last answers. It is thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._answers: LRUCache[_Key, tuple[Answer, int]] = LRUCache(
            max_bytes, getsizeof=lambda answer_and_size: answer_and_size[1]
        )
        self._lock = threading.Lock()

    def get(self, person: str | None, target: str) -> Answer | None:
        """The last answer to a person."""
        with self._lock:
            kept = self._answers.get((person, target))
        return None if kept is None else kept[0]

    def put(self, person: str | None, target: str, answer: Answer) -> None:
        """Keep an answer. The least recently used ones are deleted if there are too many.

        The target counts, because a client can request many long targets with small answers.
        """
        size = OVERHEAD + len(target) + 3 * len(answer.body)
        with self._lock:
            try:
                self._answers[person, target] = (answer, size)
            except ValueError:  # it is larger than the cache
                self._answers.pop((person, target), None)
