"""Hypercorn's HTTP/2 with limits for clients that do not read.

Hypercorn lets a response wait without a limit while the client grants no window, and stores an
unlimited part of it while the client grants a few bytes at a time.
"""

import asyncio
from contextlib import suppress
from typing import Final

import h2.exceptions
import hypercorn.protocol
import hypercorn.protocol.h2
from h2.stream import StreamState
from hypercorn.events import Updated
from hypercorn.protocol.events import Event
from hypercorn.protocol.h2 import BUFFER_LOW_WATER, H2Protocol, StreamBuffer

#: The maximum time that a part of a response waits until the client reads, in seconds.
READ_SECONDS: Final = 30.0


class _StreamBuffer(StreamBuffer):
    """Accepts more of a response only after the client has read most of the buffer."""

    async def pop(self, max_length: int) -> bytes:
        length = min(len(self.buffer), max_length)
        data = bytes(self.buffer[:length])
        del self.buffer[:length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class Http2Protocol(H2Protocol):
    """Resets a stream whose response waits too long for its client.

    Other streams of the connection continue: a proxy may use it for several clients.
    """

    async def stream_send(self, event: Event) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await super().stream_send(event)
        except TimeoutError:
            await self._reset(event.stream_id)

    async def _reset(self, stream_id: int) -> None:
        with suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(stream_id)
        await self._flush()
        if buffer := self.stream_buffers.get(stream_id):
            await buffer.close()
        await self._window_updated(stream_id)  # so that the task that sends removes the buffer
        await self._close_stream(stream_id)
        await self.send(Updated(idle=self.idle))

    def waits_for_client(self) -> bool:
        """Whether every request is incomplete or has a response that the client does not read."""
        return all(
            not self._is_complete(stream_id) or bool(self.stream_buffers[stream_id].buffer)
            for stream_id in self.streams.keys() & self.stream_buffers.keys()
        )

    def _is_complete(self, stream_id: int) -> bool:
        """Whether the client has sent the complete request."""
        try:
            stream = self.connection._get_stream_by_id(stream_id)
        except h2.exceptions.ProtocolError:  # closed
            return False
        return stream.state_machine.state is not StreamState.OPEN


# The modules look these names up when a connection or a stream is created.
hypercorn.protocol.h2.StreamBuffer = _StreamBuffer  # type: ignore[misc]
hypercorn.protocol.H2Protocol = Http2Protocol  # type: ignore[attr-defined]
