"""Stores complete events in Redis for the evidence of findings, within a budget.

The events of a batch are one value (a chunk). Windows refer to an event by a text with the chunk,
the offset and the length. When the budget of a source or of all sources is exceeded, the oldest
chunks are deleted; their events are then known by their ids only.
"""

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import redis

from audit_analysis.windows import pipelining
from audit_analysis.windows.layout import EVENT_CHUNKS, EVENT_QUEUES, EVENT_SIZES
from audit_analysis.windows.pipelining import Command
from audit_analysis.windows.spec import Observation

#: Larger events are not stored (bytes).
MAX_EVENT_BYTES: Final = 4096
#: Default maximum size of all stored events (bytes).
BUDGET_BYTES: Final = 64 * 1024 * 1024
#: Maximum share of the budget for one source.
SOURCE_SHARE: Final = 0.5
#: Minimum time until a chunk expires (seconds): the events of a correlation's hits are needed for
#: the windows of outer correlations too, whose retention may be longer.
MIN_CHUNK_SECONDS: Final = 24 * 3600
#: Maximum size of the chunks that this process keeps in memory (bytes).
_CACHE_BYTES: Final = 4 * 1024 * 1024


class EventStore:
    """Stores events and reads them by their references."""

    def __init__(self, client: redis.Redis, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self._client = client
        self._budget = budget_bytes
        self._process = secrets.token_hex(4)
        self._chunks = 0
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0

    def add(
        self, observations: Sequence[Observation], *, script: str, seconds: int
    ) -> tuple[dict[str, str], list[Command]]:
        """The references of the observations' events by id, and the commands that store them.

        ``script`` is the SHA-1 of the script. ``seconds`` is the time until the chunks expire.
        """
        by_source: dict[str, dict[str, bytes]] = {}
        references: dict[str, str] = {}
        for observation in observations:
            raw, event_id = observation.raw, observation.event_id
            if event_id not in references and raw and len(raw) <= MAX_EVENT_BYTES:
                references[event_id] = ""
                by_source.setdefault(observation.spec.source, {})[event_id] = raw
        commands: list[Command] = []
        for source, events in by_source.items():
            self._chunks += 1
            chunk = f"{self._process}{self._chunks:x}"
            offset = 0
            for event_id, raw in events.items():
                references[event_id] = f"{chunk}:{offset}:{len(raw)}"
                offset += len(raw)
            body = b"".join(events.values())
            self._keep(chunk, body)
            commands.append(
                (
                    "EVALSHA", script, 3, EVENT_CHUNKS + chunk, EVENT_SIZES, EVENT_QUEUES + source,
                    body, source, max(seconds, MIN_CHUNK_SECONDS),
                    int(self._budget * SOURCE_SHARE), self._budget,
                )
            )  # fmt: skip
        return references, commands

    def read(self, references: Iterable[str]) -> dict[str, bytes | None]:
        """The events by their references; None if an event is not stored any more.

        Raises:
            redis.RedisError: Redis cannot be reached.
        """
        events: dict[str, bytes | None] = {}
        missing: list[str] = []
        for reference in dict.fromkeys(references):
            chunk, offset, length = _parts(reference)
            body = self._cache.get(chunk)
            if body is None:
                missing.append(reference)
            else:
                events[reference] = body[offset : offset + length]
        if missing:
            commands = [_get(reference) for reference in missing]
            for reference, raw in zip(
                missing, pipelining.execute(self._client, commands), strict=True
            ):
                events[reference] = raw or None
        return events

    def delete_all(self) -> None:
        """Delete all stored events.

        Raises:
            redis.RedisError: Redis cannot be reached.
        """
        keys = [EVENT_SIZES, *_scan(self._client, EVENT_QUEUES), *_scan(self._client, EVENT_CHUNKS)]
        for start in range(0, len(keys), 1000):
            self._client.unlink(*keys[start : start + 1000])

    def _keep(self, chunk: str, body: bytes) -> None:
        self._cache[chunk] = body
        self._cached_bytes += len(body)
        while self._cached_bytes > _CACHE_BYTES:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= len(oldest)


def _parts(reference: str) -> tuple[str, int, int]:
    chunk, offset, length = reference.split(":")
    return chunk, int(offset), int(length)


def _get(reference: str) -> Command:
    chunk, offset, length = _parts(reference)
    return "GETRANGE", EVENT_CHUNKS + chunk, offset, offset + length - 1


def _scan(client: redis.Redis, prefix: str) -> Iterator[str]:
    pattern = prefix.replace("{", "\\{") + "*"
    for key in client.scan_iter(match=pattern, count=1000):
        yield key.decode() if isinstance(key, bytes) else key
