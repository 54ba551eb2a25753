"""The tokens that are valid now: those of the settings, and those of a file that may change."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from audit_event_generator import tokens
from audit_event_generator.tokens import TokenError, TokenSource, TokenTable
from auditflow.telemetry import logs

#: Interval between two checks whether the file changed, in seconds.
CHECK_SECONDS: Final = 1.0

log = logs.get(__name__)


class TokenRegistry:
    """Finds the source of a token, and limits the rate of each source.

    A changed file is read at the next request. If its new content is invalid, the previous tokens
    stay valid, and ``is_stale`` is true until the file is valid again.
    """

    def __init__(
        self,
        fixed: TokenTable,
        *,
        file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file.

        Raises:
            TokenError: the file is invalid, or there is no token at all.
        """
        self._fixed = fixed
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._version = self._file_version()
        self._checked_at = clock()
        self._table = self._read()
        self.is_stale = False
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        if not len(self._table):
            raise TokenError("there is no token: set INGEST_TOKEN or INGEST_TOKENS")

    def find(self, token: bytes) -> TokenSource | None:
        """Return the source of a token; None if the token is not valid."""
        self._reload_if_changed()
        return self._table.find(token)

    def seconds_until_permitted(self, source: TokenSource, records: int) -> float:
        """Count a number of ``records`` against the source's rate. Returns 0 if they are permitted.

        Otherwise returns the seconds until the next period, and counts nothing.
        """
        if source.rate is None:
            return 0.0
        if self._limiter.test(source.rate, source.name, cost=records):
            self._limiter.hit(source.rate, source.name, cost=records)
            return 0.0
        reset_at = self._limiter.get_window_stats(source.rate, source.name).reset_time
        return max(reset_at - time.time(), 0.1)

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if self._file is None or now - self._checked_at < CHECK_SECONDS:
            return
        with self._lock:
            self._checked_at = now
            version = self._file_version()
            if version == self._version:
                return
            self._version = version
            try:
                self._table = self._read()
            except TokenError as error:
                self.is_stale = True
                reason = str(error)
                log.warning("the tokens were not reloaded", file=str(self._file), error=reason)
                return
            self.is_stale = False
            log.info("the tokens were reloaded", file=str(self._file), tokens=len(self._table))

    def _read(self) -> TokenTable:
        if self._file is None:
            return self._fixed
        try:
            document = self._file.read_bytes()
        except FileNotFoundError:
            document = b""
        except OSError as error:
            raise TokenError(f"{self._file} cannot be read: {error.strerror}") from None
        return self._fixed.merged(tokens.parse(document))

    def _file_version(self) -> tuple[int, int, int] | None:
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
