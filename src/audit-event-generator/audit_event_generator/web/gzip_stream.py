"""Decompress gzip while it arrives, in linear time and with a limit."""

import zlib
from collections.abc import Iterator
from typing import Final

_GZIP: Final = 16 + zlib.MAX_WBITS
#: The decompressor gets slices of this size. What follows the end of a member is copied, so a small
#: slice bounds the work for each member.
_SLICE: Final = 4096
#: Maximum number of members. A file of many small parts has some hundreds.
MAX_MEMBERS: Final = 10_000


class GzipError(Exception):
    """The bytes are not valid gzip. The text states the reason."""


class GzipStream:
    """Decompresses a file of any number of members."""

    def __init__(self, *, limit: int) -> None:
        """``limit`` is the maximum size of the content, in bytes."""
        self._remaining = limit
        self._members = 0
        #: None between two members.
        self._member: zlib._Decompress | None = None

    def feed(self, compressed: bytes) -> Iterator[bytes]:
        """Yield the content of the next compressed bytes.

        Raises:
            GzipError: the bytes are damaged, or there are too many members.
            OverflowError: the content is larger than the limit.
        """
        for start in range(0, len(compressed), _SLICE):
            rest = compressed[start : start + _SLICE]
            while rest:
                if self._member is None:
                    rest = rest.lstrip(b"\0")  # padding between members
                    if not rest:
                        break
                    self._start_member()
                content, rest = self._decompress(rest)
                if content:
                    yield content

    def finish(self) -> None:
        """Check that the last member is complete.

        Raises:
            GzipError: it is not.
        """
        if self._member is not None:
            raise GzipError("The gzip body is incomplete.")

    def _start_member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise GzipError(f"The gzip body has more than {MAX_MEMBERS} members.")
        self._member = zlib.decompressobj(wbits=_GZIP)

    def _decompress(self, compressed: bytes) -> tuple[bytes, bytes]:
        """Return the content and the bytes after the end of the member."""
        member = self._member
        if member is None:
            raise AssertionError
        try:
            content = member.decompress(compressed, self._remaining + 1)
        except zlib.error:
            raise GzipError("The gzip body is damaged.") from None
        self._remaining -= len(content)
        if self._remaining < 0:
            raise OverflowError
        if not member.eof:
            return content, b""
        self._member = None
        return content, member.unused_data
