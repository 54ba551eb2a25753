"""Read a request's body with a size limit, and decompress gzip."""

import zlib
from typing import Final

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from auditflow.http.serving import MAX_BODY_BYTES

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 16 + zlib.MAX_WBITS


def read(request: Request) -> bytes:
    """Return the body, decompressed if Content-Encoding or its first bytes say gzip.

    Raises:
        HTTPException: the body is too large (compressed or decompressed), damaged, or has another
            encoding.
    """
    body = request.get_data(cache=False)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise UnsupportedMediaType("Content-Encoding must be gzip, or absent.")
    if body.startswith(_GZIP_MAGIC):  # a file posted as stored in S3; JSON never starts so
        return decompress(body)
    if encoding.endswith("gzip") and body:
        raise BadRequest("Content-Encoding is gzip, but the body is not gzip.")
    return body


def decompress(compressed: bytes, *, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return the content of all gzip members, at most ``limit`` bytes.

    Raises:
        HTTPException: the content is larger than the limit, damaged or incomplete.
    """
    pieces: list[bytes] = []
    remaining = limit + 1
    while compressed:
        member = zlib.decompressobj(wbits=_GZIP)
        try:
            pieces.append(member.decompress(compressed, remaining))
        except zlib.error:
            raise BadRequest("The gzip body is damaged.") from None
        remaining -= len(pieces[-1])
        if remaining <= 0:
            raise RequestEntityTooLarge(f"The decompressed body is larger than {limit} bytes.")
        if not member.eof:
            raise BadRequest("The gzip body is incomplete.")
        compressed = member.unused_data.lstrip(b"\0")
    return b"".join(pieces)
