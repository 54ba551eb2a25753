"""Limits of every JSON document, checked before it is parsed: size, encoding, depth, no NUL.

msgspec refuses malformed JSON only in the parts that it parses. These checks apply to the other
parts too. PostgreSQL cannot store NUL, although it is valid in JSON.
"""

import re
from collections.abc import Sequence
from typing import Final

from auditflow.errors import ContractError

#: The largest single event, in bytes of JSON.
MAX_DOCUMENT_BYTES: Final = 256 * 1024
#: The deepest nesting of objects and arrays.
MAX_DEPTH: Final = 32

#: Replaces brackets by braces. All other characters are deleted.
_BRACES: Final = bytes.maketrans(b"[]", b"{}")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def check(document: bytes, *, limit: int = MAX_DOCUMENT_BYTES, max_depth: int = MAX_DEPTH) -> None:
    """Check the size, the encoding and the depth of a JSON document, and that it has no NUL.

    ``limit`` is in bytes. ``max_depth`` is the maximum number of nested objects and arrays.

    Raises:
        ContractError: the first limit that the document exceeds.
    """
    check_size(document, limit=limit)
    if not document.isascii():
        try:
            document.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ContractError(f"not UTF-8 at byte {error.start}") from None
    if b"\\u0000" in document and _NUL_ESCAPE.search(document):
        raise ContractError("a string contains the NUL character (\\u0000)")
    # Counting is a hundred times faster than scanning, and is sufficient for nearly every event.
    if document.count(b"{") + document.count(b"[") > max_depth and (
        depth(document, stop_at=max_depth + 1) > max_depth
    ):
        raise ContractError(f"nested deeper than {max_depth} levels")


def is_surely_valid(document: bytes) -> bool:
    """Whether ``check`` certainly accepts a document. It is fast and not exact."""
    return (
        0 < len(document) <= MAX_DOCUMENT_BYTES
        and document.isascii()
        and b"\\u0000" not in document
        and document.count(b"{") + document.count(b"[") <= MAX_DEPTH
    )


def surely_within(document: bytes, parts: Sequence[bytes]) -> bool:
    """Whether ``check`` certainly accepts each of the ``parts`` of a document.

    This test is fast and not exact: if it is False, check each part.
    """
    if not document.isascii() or b"\\u0000" in document:
        return False
    if len(document) > MAX_DOCUMENT_BYTES and len(max(parts, key=len)) > MAX_DOCUMENT_BYTES:
        return False
    return max([part.count(b"{") + part.count(b"[") for part in parts], default=0) <= MAX_DEPTH


def check_size(document: bytes, *, limit: int = MAX_DOCUMENT_BYTES) -> None:
    """Check that a document is not empty and has at most ``limit`` bytes.

    Raises:
        ContractError: the text states the size and the limit.
    """
    if not document:
        raise ContractError("the message is empty")
    if len(document) > limit:
        raise ContractError(f"{len(document)} bytes are more than the {limit} allowed")


def depth(document: bytes, *, stop_at: int = MAX_DOCUMENT_BYTES) -> int:
    """The maximum number of nested objects and arrays in a JSON document (0 for a scalar).

    The result is at most ``stop_at``. The innermost pairs are removed until none is left. This
    takes a few passes in C, and a loop in Python would take a step for each character.
    """
    if b"\\" in document:
        document = document.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(document.split(b'"')[::2])
    braces = outside_strings.translate(_BRACES, _NO_BRACKETS)
    level = 0
    while level < stop_at and (outer := braces.replace(b"{}", b"")) != braces:
        braces, level = outer, level + 1
    return level
