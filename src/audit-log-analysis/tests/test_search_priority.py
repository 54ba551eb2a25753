"""Searches have a lower CPU priority than the writer of the archive, so that they do not slow it."""

import asyncio
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from audit_analysis.archive.writer import NICENESS as WRITER_NICENESS
from audit_analysis.events_api import running
from audit_analysis.events_api.database import NICENESS, Cancellation, SearchDatabase, SearchLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness")


def niceness_of_this_thread(_: object = None) -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def threads() -> dict[int, int]:
    """The niceness of each thread of this process."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found[int(task.name)] = os.getpriority(os.PRIO_PROCESS, int(task.name))
    return found


def test_thread_of_a_search_has_a_lower_priority_than_the_writer():
    assert asyncio.run(running.run(niceness_of_this_thread)) >= NICENESS > WRITER_NICENESS


def test_parts_of_an_export_are_read_at_the_low_priority():
    async def read() -> list[bytes]:
        parts = (b"%d" % niceness_of_this_thread() for _ in range(1))
        return [part async for part in running.stream(b"first", parts, Cancellation())]

    first, niceness = asyncio.run(read())
    assert first == b"first"
    assert int(niceness) >= NICENESS


def test_threads_of_the_database_have_the_low_priority():
    before, own = threads(), niceness_of_this_thread()
    database = SearchDatabase(SearchLimits(threads=3))
    added = {task: niceness for task, niceness in threads().items() if task not in before}
    database.close()
    assert len(added) >= 2
    assert min(added.values()) >= NICENESS
    assert niceness_of_this_thread() == own
