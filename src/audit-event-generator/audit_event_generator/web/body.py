"""Reading a request's body: bounded, and unpacked where it is packed."""

import zlib
from typing import Final

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from auditflow.http.serving import MAX_BODY_BYTES

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 16 + zlib.MAX_WBITS


def read(request: Request) -> bytes:
    """The body as its client wrote it. gzip is known by its header, or by its first bytes.

    Raises:
        HTTPException: too large (packed or unpacked), damaged, or packed in another way.
    """
    body = request.get_data(cache=False)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise UnsupportedMediaType("Content-Encoding must be gzip, or absent.")
    if body.startswith(_GZIP_MAGIC):  # no JSON begins so: a file posted as it is in S3
        return unpack(body)
    if encoding.endswith("gzip") and body:
        raise BadRequest("Content-Encoding says gzip, and the body is not gzip.")
    return body


def unpack(packed: bytes, *, limit: int = MAX_BODY_BYTES) -> bytes:
    """What gzip holds, all members of it, never more than ``limit`` bytes.

    Raises:
        HTTPException: larger than the limit, damaged, or cut off.
    """
    pieces: list[bytes] = []
    room = limit + 1
    while packed:
        member = zlib.decompressobj(wbits=_GZIP)
        try:
            pieces.append(member.decompress(packed, room))
        except zlib.error:
            raise BadRequest("The gzip body is damaged.") from None
        room -= len(pieces[-1])
        if room <= 0:
            raise RequestEntityTooLarge(f"Unpacked, the body is more than {limit} bytes.")
        if not member.eof:
            raise BadRequest("The gzip body is cut off.")
        packed = member.unused_data.lstrip(b"\0")
    return b"".join(pieces)
