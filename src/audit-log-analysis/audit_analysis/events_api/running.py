"""Runs searches in threads, and cancels them when nobody waits for their result."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from audit_analysis.events_api.database import NICENESS, Cancellation
from auditflow.http.serving import THREADS
from auditflow.worker import lower_priority

_threads = ThreadPoolExecutor(
    THREADS, thread_name_prefix="search", initializer=lower_priority, initargs=(NICENESS,)
)

T = TypeVar("T")


async def run(function: Callable[[Cancellation], T]) -> T:
    """Run a search in a thread. It is interrupted if this coroutine is cancelled.

    The server cancels the coroutine of a request when its client disconnects.
    """
    cancellation = Cancellation()
    running = asyncio.ensure_future(_in_thread(partial(function, cancellation)))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cancellation.cancel()
        # The thread ends soon. Its error must not be reported as unhandled.
        running.add_done_callback(lambda future: future.cancelled() or future.exception())
        raise


async def stream(
    first: bytes, parts: Iterator[bytes], cancellation: Cancellation
) -> AsyncIterator[bytes]:
    """The parts of a body, of which the first was computed before."""
    try:
        part = first
        while part:
            yield part
            part = await _in_thread(partial(next, parts, b""))
    finally:
        cancellation.cancel()
        await _in_thread(parts.close)  # type: ignore[attr-defined]


async def _in_thread(function: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, function)
