"""Hypercorn's connections with our limits: a maximum number, and HTTP/2 by ALPN only.

Hypercorn has no setting for these limits. The classes here replace its own classes for all servers
of this process. A response is one write to the socket, because a write costs a third of a short
request. Hypercorn writes the headers and each part of the body separately.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Any, Final

import h11
import hypercorn.asyncio.run
import hypercorn.protocol
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol

from auditflow.telemetry import logs

#: The maximum number of requests at the same time on one HTTP/2 connection.
HTTP2_STREAMS: Final = 16
#: The maximum number of parts of a body that wait for the application. A part has up to 64 KiB.
BODY_PARTS: Final = 2
#: The timeout of a TLS handshake, in seconds.
HANDSHAKE_SECONDS: Final = 10.0
#: The timeout of a connection without a complete request, in seconds.
IDLE_SECONDS: Final = 10.0
#: A connection that starts with these bytes uses HTTP/2 without ALPN.
_HTTP2_PREFACE: Final = b"PRI * HTTP/2"

log = logs.get(__name__)


class ServerConfig(Config):
    """The configuration of one port."""

    def __init__(
        self, address: str, *, max_connections: int, grace: float, tls: ssl.SSLContext | None = None
    ) -> None:
        """``grace`` is the time for open requests after the stop, in seconds."""
        super().__init__()
        self.bind = [address]
        self.max_connections = max_connections
        self.connections = 0
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


class Certificate:
    """The server's certificate and key, loaded again when the files have changed."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError or ssl.SSLError if the files cannot be used."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_COMPRESSION
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self._loaded = self._state()
        self._load(self.context)

    def reload(self) -> None:
        """Load the files if they have changed. New connections then use them.

        Files that cannot be used are reported, and the current certificate stays in use.
        """
        try:
            state = self._state()
            if state == self._loaded:
                return
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except (OSError, ValueError) as error:
            log.warning("the renewed certificate cannot be loaded", error=str(error))
            return
        self._loaded = state
        log.info("certificate loaded", file=str(self._certificate))

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._certificate, self._key)

    def _state(self) -> list[tuple[int, int]]:
        files = (self._certificate.stat(), self._key.stat())
        return [(file.st_mtime_ns, file.st_ino) for file in files]


class _LimitedServer(TCPServer):
    """Closes a connection immediately if there are too many."""

    config: ServerConfig

    async def run(self) -> None:
        if self.config.connections >= self.config.max_connections:
            log.warning("too many connections, closing a new one", max=self.config.max_connections)
            self.writer.close()
            return
        self.config.connections += 1
        try:
            await super().run()
        finally:
            self.config.connections -= 1


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
