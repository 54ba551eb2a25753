"""The certificate of a server, and a limit on unfinished TLS handshakes."""

import ssl
import time
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from auditflow.telemetry import logs

#: The timeout of a TLS handshake, in seconds.
HANDSHAKE_SECONDS: Final = 10.0
#: The maximum number of unfinished TLS handshakes of a process. Each uses 100 KiB, and a connection
#: is counted only after its handshake.
HANDSHAKES: Final = 256

log = logs.get(__name__)


class _Handshake(ssl.SSLObject):
    """TLS of a connection. Its context counts it until the handshake has ended."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            self._ended()
            raise
        self._ended()

    def _ended(self) -> None:
        if isinstance(self.context, _LimitedContext):
            self.context.started.pop(self, None)


class _LimitedContext(ssl.SSLContext):
    """Refuses a connection while too many others have not finished their handshake."""

    sslobject_class = _Handshake

    def __init__(self, _: int) -> None:
        super().__init__()
        #: The unfinished handshakes, with the time of their start, in seconds.
        self.started: WeakKeyDictionary[ssl.SSLObject, float] = WeakKeyDictionary()

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        now = time.monotonic()
        if len(self.started) >= HANDSHAKES:
            for handshake, start in list(self.started.items()):
                if now - start > HANDSHAKE_SECONDS:  # the connection was closed
                    del self.started[handshake]
            if len(self.started) >= HANDSHAKES:
                raise ssl.SSLError("too many unfinished TLS handshakes")
        wrapped = super().wrap_bio(*arguments, **options)
        self.started[wrapped] = now
        return wrapped


class Certificate:
    """The server's certificate and key, loaded again when the files have changed."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError or ssl.SSLError if the files cannot be used."""
        self._certificate = certificate
        self._key = key
        self.context = _LimitedContext(ssl.PROTOCOL_TLS_SERVER)
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
