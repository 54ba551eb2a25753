"""Hypercorn's connections with our limits: number, time to read, and HTTP/2 by ALPN only.

Hypercorn has no setting for these limits. The classes here replace its own classes for all servers
of this process. A response is one write to the socket, because a write costs a third of a short
request. Hypercorn writes the headers and each part of the body separately.
"""

import asyncio
import ssl
from contextlib import nullcontext
from typing import Any, Final

import h11
import hypercorn.asyncio.run
import hypercorn.protocol
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol

from auditflow.http import http2
from auditflow.http.certificate import HANDSHAKE_SECONDS
from auditflow.http.connection_limit import ConnectionLimit
from auditflow.telemetry import logs

#: The maximum number of requests at the same time on one HTTP/2 connection.
HTTP2_STREAMS: Final = 16
#: The maximum number of parts of a body that wait for the application. A part has up to 64 KiB.
BODY_PARTS: Final = 2
#: The timeout of a connection without a complete request, in seconds.
IDLE_SECONDS: Final = 10.0
#: A connection that starts with these bytes uses HTTP/2 without ALPN.
_HTTP2_PREFACE: Final = b"PRI * HTTP/2"

log = logs.get(__name__)


class ServerConfig(Config):
    """The configuration of one port, or of two that serve the same."""

    def __init__(
        self,
        address: str,
        *,
        limit: ConnectionLimit,
        grace: float,
        tls: ssl.SSLContext | None = None,
        without_tls: str | None = None,
    ) -> None:
        """``grace`` is the time for open requests after the stop, in seconds.

        With ``tls``, the port serves TLS. ``without_tls`` is the address of a second port without
        TLS. ``max_connections`` is the maximum number of open connections of both.
        """
        super().__init__()
        self.bind = [address]
        self.insecure_bind = [without_tls] if without_tls else []
        self.limit = limit
        self.graceful_timeout = grace
        self.include_server_header = False
        self.accesslog = None
        self.errorlog = None
        self.keep_alive_timeout = IDLE_SECONDS
        self.h2_max_concurrent_streams = HTTP2_STREAMS
        self.max_app_queue_size = BODY_PARTS
        self.ssl_handshake_timeout = HANDSHAKE_SECONDS
        self._tls = tls

    @property
    def ssl_enabled(self) -> bool:
        """Whether the port serves TLS."""
        return self._tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """The context that ``Certificate`` keeps up to date."""
        return self._tls


class _LimitedServer(TCPServer):
    """A connection that is counted, and closed if its client does not read."""

    config: ServerConfig
    address = ""
    since = 0.0

    async def run(self) -> None:
        self.address = str((self.writer.get_extra_info("peername") or ("",))[0])
        self.since = self.loop.time()
        limit = self.config.limit
        if not limit.admit(self):
            log.warning("too many connections, closing a new one", max=limit.maximum)
            self.writer.close()
            return
        try:
            await super().run()
        finally:
            limit.release(self)

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
            return
        if isinstance(event, Updated):
            self.since = self.loop.time()
        await super().protocol_send(event)

    async def _write(self, data: bytes) -> None:
        async with self.send_lock:
            try:
                self.writer.write(data)
                # A timeout costs more than a short write, and few writes wait.
                waits = self.writer.transport.get_write_buffer_size() > 0
                async with asyncio.timeout(http2.READ_SECONDS) if waits else nullcontext():
                    await self.writer.drain()
            except TimeoutError:
                log.info("connection closed: the client does not read", address=self.address)
                self.abort()
                await self.protocol.handle(Closed())
            except (ConnectionError, RuntimeError):
                await self.protocol.handle(Closed())

    def waits_for_client(self) -> bool:
        """See ``connection_limit.Connection``. A write that waits holds ``send_lock``."""
        if not hasattr(self, "protocol") or self.send_lock.locked():
            return True
        protocol = self.protocol.protocol
        if isinstance(protocol, _Http1Protocol | http2.Http2Protocol):
            return protocol.waits_for_client()
        return False

    def abort(self) -> None:
        """Close the connection without sending what is buffered."""
        self.writer.transport.abort()


class _Http1Protocol(H11Protocol):
    """HTTP/1.1 without a switch to unencrypted HTTP/2."""

    _first = True
    _refused = False
    #: Encoded headers of a response that wait for the first part of the body.
    _head = b""
    _flush: asyncio.Handle | None = None
    _flush_task: asyncio.Task[None] | None = None

    async def handle(self, event: Event) -> None:
        if self._refused:
            return
        if isinstance(event, RawData) and self._first:
            self._first = False
            if event.data.startswith(_HTTP2_PREFACE):
                self._refused = True
                await self._send_error_response(505)
                await self.send(Closed())
                return
        await super().handle(event)

    def waits_for_client(self) -> bool:
        """Whether there is no request, or an incomplete one."""
        return self.stream is None or self.connection.their_state is h11.SEND_BODY

    async def _send_h11_event(self, event: Any) -> None:
        """Send the headers of a response together with the first part of its body.

        If the application waits before it sends the body, the headers are sent without it.
        """
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._head = data or b""
            self._flush = asyncio.get_running_loop().call_soon(self._start_flush)
            return
        await self._write(data or b"")

    def _start_flush(self) -> None:
        self._flush_task = asyncio.get_running_loop().create_task(self._write(b""))

    async def _write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
            if self._flush is not None:
                self._flush.cancel()
        if data:
            await self.send(RawData(data=data))

    async def _check_protocol(self, event: Any) -> None:
        """Ignore a request to upgrade, as HTTP permits."""


# The modules look these names up when a connection is made.
hypercorn.asyncio.run.TCPServer = _LimitedServer  # type: ignore[attr-defined]
hypercorn.protocol.H11Protocol = _Http1Protocol  # type: ignore[attr-defined]
