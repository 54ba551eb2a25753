"""Reads that wait for each other are made together, and each answers the requests before it."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from unittest.mock import ANY

import pytest

from auditflow.errors import Unavailable
from notification_service.api.grouped_reads import GroupedReads


class Source:
    """Values that change. A read waits until it is allowed."""

    def __init__(self) -> None:
        self.values = {"a": 1, "b": 2, "c": 3}
        self.groups: list[list[str]] = []
        self.started = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)

    def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        values = dict(self.values)
        self.groups.append(list(keys))
        self.started.release()
        assert self.allowed.acquire(timeout=60)
        return {key: values[key] for key in keys}

    async def wait_until_started(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=60)


@pytest.fixture
def source() -> Source:
    return Source()


def test_requests_during_a_read_share_the_next_read(source: Source) -> None:
    async def scenario() -> None:
        reads = GroupedReads(source.read, max_keys=2, parallel=1)
        first = asyncio.create_task(reads.get("a"))
        await source.wait_until_started()
        source.values["a"] = 10
        others = [asyncio.create_task(reads.get(key)) for key in "aabbc"]
        await asyncio.sleep(0)
        source.allowed.release(3)
        # The read of the first request began before the change. The others began after it.
        assert await first == 1
        assert await asyncio.gather(*others) == [10, 10, 2, 2, 3]

    asyncio.run(scenario())
    assert source.groups == [["a"], ["a", "b"], ["c"]]


def test_an_error_fails_its_group_only(source: Source) -> None:
    async def scenario() -> None:
        reads = GroupedReads(source.read, max_keys=2, parallel=2)
        requests = [asyncio.create_task(reads.get(key)) for key in ("a", "unknown", "b")]
        await asyncio.sleep(0)
        source.allowed.release(3)
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert results[0] == 1
        assert isinstance(results[1], KeyError)
        assert await reads.get("a") == 1

    source.allowed.release()
    asyncio.run(scenario())


def test_a_cancelled_request_does_not_cancel_the_read_of_others(source: Source) -> None:
    async def scenario() -> None:
        reads = GroupedReads(source.read, max_keys=2, parallel=1)
        requests = [asyncio.create_task(reads.get(key)) for key in "baa"]
        await source.wait_until_started()
        requests[1].cancel()
        source.allowed.release(2)
        assert await asyncio.gather(*requests, return_exceptions=True) == [2, ANY, 1]
        assert requests[1].cancelled()

    asyncio.run(scenario())
    assert source.groups == [["b"], ["a"]]


def test_a_read_that_hangs_does_not_stop_others(source: Source) -> None:
    async def scenario() -> None:
        reads = GroupedReads(source.read, max_keys=2, parallel=1, seconds=0.05)
        with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
            await reads.get("a")
        source.allowed.release(2)
        assert await reads.get("b") == 2

    asyncio.run(scenario())
    assert source.groups == [["a"], ["b"]]
