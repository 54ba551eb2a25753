"""A load generator for HTTP/1.1 over persistent connections on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Load(NamedTuple):
    """Measurement of one round."""

    #: Answers per second, of all clients.
    rate: float
    #: Size of the last body in bytes.
    body_bytes: int


class RequestFailed(Exception):
    """A request had another status than expected."""


#: Builds the bytes of a request from its number.
Request = Callable[[int], bytes]


def get(path: str, headers: Mapping[str, str] | None = None) -> Request:
    """Return a builder of GET requests."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    encoded = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return lambda number: encoded


def in_turn(requests: Sequence[Request]) -> Request:
    """Return a builder that uses several builders in turn. Clients start with different ones."""
    return lambda number: requests[number % len(requests)](number)


def post(path: str, headers: Mapping[str, str], body: Callable[[int], bytes]) -> Request:
    """Return a builder of POST requests with a JSON body."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode()

    def build(number: int) -> bytes:
        content = body(number)
        return head + f"\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content

    return build


def measure(port: int, request: Request, *, clients: int, seconds: float) -> Load:
    """Send requests from ``clients`` connections for some seconds.

    Raises:
        RequestFailed: a status is not 2xx.
    """
    counts = [0] * clients
    sizes = [0] * clients
    errors: list[BaseException] = []
    barrier = threading.Barrier(clients + 1)
    stop = threading.Event()

    def client(index: int) -> None:
        try:
            with _Connection(port) as connection:
                connection.send(request(index))  # not counted: opens caches and connections
                barrier.wait()
                number = index
                while not stop.is_set():
                    number += clients
                    sizes[index] = connection.send(request(number))
                    counts[index] += 1
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=client, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    try:
        barrier.wait(30)
    except threading.BrokenBarrierError:
        stop.set()
    start = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    if errors:
        raise errors[0]
    return Load(sum(counts) / elapsed, max(sizes))


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> _Connection:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, request: bytes) -> int:
        """Send a request and read the answer. Returns the size of its body.

        A server may close a persistent connection after any answer. Then the request is repeated on a
        new connection.
        """
        try:
            self._socket.sendall(request)
            head = self._read_until(b"\r\n\r\n").lower()
        except (ConnectionError, RequestFailed):
            self._socket.close()
            self.__enter__()
            self._socket.sendall(request)
            head = self._read_until(b"\r\n\r\n").lower()
        status = head.split(None, 2)[1]
        if b"\r\ntransfer-encoding: chunked" in head:
            body = self._read_chunks()
        else:
            length = int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
            body = self._read(length)
        if not status.startswith(b"2"):
            raise RequestFailed(f"{status.decode()}: {body[:300].decode(errors='replace')}")
        return len(body)

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self._read_until(b"\r\n").split(b";")[0], 16):
            parts.append(self._read(size))
            self._read(2)
        self._read(2)
        return b"".join(parts)

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._fill()
        head, self._buffer = self._buffer.split(end, 1)
        return head

    def _read(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._fill()
        content, self._buffer = self._buffer[:length], self._buffer[length:]
        return content

    def _fill(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise RequestFailed("the server closed the connection")
        self._buffer += data
