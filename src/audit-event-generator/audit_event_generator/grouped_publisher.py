"""Publish the messages of concurrent requests together, and complete each request separately.

Requests that arrive in the same iteration of the event loop wake the publisher's thread once, and
their confirms wake the event loop once. Each request still waits for the confirms of its own
messages only.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, Protocol

from auditflow.amqp import Message
from auditflow.amqp.publisher import WINDOW
from auditflow.errors import PublishError

#: Maximum wait for the broker's confirms, in seconds.
CONFIRM_SECONDS: Final = 0.75
#: Maximum size of all messages without a confirm, in bytes. It bounds the memory while the broker
#: does not answer.
MAX_UNCONFIRMED_BYTES: Final = 48 * 1024 * 1024


class Broker(Protocol):
    """The part of ``auditflow.amqp.Publisher`` that is used here."""

    def submit_each(self, groups: Sequence[Sequence[Message]]) -> list[Future[None]]: ...


class _Request:
    """The messages of one request. All attributes are used on the event loop only."""

    def __init__(self, messages: Sequence[Message], loop: asyncio.AbstractEventLoop) -> None:
        self.messages = messages
        self.size = sum(len(message.body) for message in messages)
        self.confirmed: asyncio.Future[None] = loop.create_future()


class GroupedPublisher:
    """Publishes for any number of coroutines on one event loop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: list[_Request] = []
        self._unconfirmed_bytes = 0
        #: Results that the publisher's thread hands to the event loop.
        self._results: deque[tuple[_Request, BaseException | None]] = deque()
        self._is_scheduled = False

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish messages, and return when the broker has stored all of them.

        Raises:
            PublishError: at least one message is not confirmed within ``CONFIRM_SECONDS``, or too
                many bytes wait for confirms.
        """
        for start in range(0, len(messages), WINDOW):
            await self._publish_window(messages[start : start + WINDOW])

    async def _publish_window(self, messages: Sequence[Message]) -> None:
        loop = asyncio.get_running_loop()
        request = _Request(messages, loop)
        if self._unconfirmed_bytes and (
            self._unconfirmed_bytes + request.size > MAX_UNCONFIRMED_BYTES
        ):
            raise PublishError("too many bytes wait for the broker's confirm")
        self._unconfirmed_bytes += request.size
        if not self._waiting:
            loop.call_soon(self._submit_waiting, loop)
        self._waiting.append(request)
        timer = loop.call_later(CONFIRM_SECONDS, _time_out, request)
        try:
            await request.confirmed
        finally:
            timer.cancel()

    def _submit_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        requests, self._waiting = self._waiting, []
        try:
            results = self._broker.submit_each([request.messages for request in requests])
        except PublishError as error:
            for request in requests:
                self._complete(request, error)
            return
        for request, result in zip(requests, results, strict=True):
            result.add_done_callback(partial(self._on_result, loop, request))

    def _on_result(
        self, loop: asyncio.AbstractEventLoop, request: _Request, result: Future[None]
    ) -> None:
        """Hand a result to the event loop. Runs on the publisher's thread."""
        self._results.append((request, result.exception()))
        if not self._is_scheduled:
            self._is_scheduled = True
            try:
                loop.call_soon_threadsafe(self._complete_results)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._is_scheduled = False

    def _complete_results(self) -> None:
        # Reset first: a result that is appended after this line schedules another call.
        self._is_scheduled = False
        while self._results:
            self._complete(*self._results.popleft())

    def _complete(self, request: _Request, error: BaseException | None) -> None:
        self._unconfirmed_bytes -= request.size
        if request.confirmed.done():  # the request timed out, or the client disconnected
            return
        if error is None:
            request.confirmed.set_result(None)
        else:
            request.confirmed.set_exception(error)


def _time_out(request: _Request) -> None:
    if not request.confirmed.done():
        request.confirmed.set_exception(PublishError(f"no confirm within {CONFIRM_SECONDS:g} s"))
