"""Connections to receivers, with the address checked at the time of connecting.

The name is resolved once, the addresses are checked, and the connection goes to a checked address.
So a name that resolves to another address a moment later (DNS rebinding) gains nothing, and a
redirect is checked like any other connection.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

import httpcore

from auditflow.errors import AuditFlowError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: NAT64: an IPv4 address inside, which has to be checked itself.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(AuditFlowError):
    """A receiver's name leads to an address that notifications must not be sent to."""


class Addresses:
    """Which addresses may be connected to: public ones, and networks that are allowed."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def permits(self, address: Address) -> bool:
        """Whether an address may be connected to."""
        if isinstance(address, ipaddress.IPv6Address):
            inner = address.ipv4_mapped or address.sixtofour or _of_nat64(address)
            if inner is not None:
                return self.permits(inner)
        if any(
            address in network for network in self._allowed if network.version == address.version
        ):
            return True
        return address.is_global and not address.is_multicast

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host, if all of them are permitted.

        Raises:
            AddressRefused: one of them is not.
            OSError: the name cannot be resolved.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for text in addresses:
            if not self.permits(ipaddress.ip_address(text.partition("%")[0])):
                raise AddressRefused(
                    f"{host} has the address {text}, which is not a public address:"
                    " to allow it, add its network to WEBHOOK_ALLOWED_NETWORKS"
                )
        return addresses


def _of_nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


class CheckedBackend(httpcore.SyncBackend):
    """Connects only to permitted addresses, and for one attempt. TLS verifies the name of the URL.

    ``deadline`` is a time of ``time.monotonic``. A server that sends a byte now and then does not
    hold a connection longer.
    """

    def __init__(self, addresses: Addresses, *, deadline: float) -> None:
        super().__init__()
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._addresses.resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error.strerror}") from None
        last: Exception | None = None
        for address in addresses[:4]:
            try:
                stream = super().connect_tcp(
                    address, port, _left(self._deadline, timeout), local_address, socket_options
                )
                return _TimedStream(stream, self._deadline)
            except httpcore.ConnectError as error:
                last = error
        raise last or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """Never."""
        del args, kwargs
        raise AddressRefused("notifications are not sent to local sockets")


class _TimedStream(httpcore.NetworkStream):
    """A connection that ends at a deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, timeout)
        return _TimedStream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the attempt took too long")
    return left if timeout is None else min(left, timeout)
