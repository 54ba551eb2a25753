"""Find the parts of a JSON document without validating their content.

msgspec is faster, but one invalid string or one deeply nested record makes it reject the document.
This scanner only looks at strings and brackets, so that an invalid record does not affect others.
The time is linear in the size of the document.
"""

import re
from collections.abc import Iterator
from typing import Final

#: Maximum number of strings, brackets and separators in a document. It bounds the time to seconds.
MAX_TOKENS: Final = 3_000_000
#: A string, which may be unterminated, or a character of the structure. It cannot backtrack.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)|[\[\]{},:]', re.DOTALL)
_OPEN: Final = (b"[", b"{")
_CLOSE: Final = (b"]", b"}")


class ScanError(Exception):
    """The brackets of the document are not balanced, or it has too many tokens."""


def split_array(document: bytes) -> list[bytes]:
    """Return the elements of an array.

    Raises:
        ScanError: the document is not an array, or its brackets are not balanced.
    """
    return list(_split(document.strip(), b"[", b"]"))


def split_object(document: bytes) -> list[tuple[bytes, bytes]]:
    """Return the keys (with their quotes) and the values of an object.

    Raises:
        ScanError: the document is not an object, or its brackets are not balanced.
    """
    members = []
    for member in _split(document.strip(), b"{", b"}"):
        key = _TOKEN.match(member)
        separator = key and _TOKEN.search(member, key.end())
        if key is None or separator is None or separator[0] != b":":
            raise ScanError("a member of the object has no key")
        members.append((key[0], member[separator.end() :].strip()))
    return members


def prune(document: bytes, *, max_depth: int) -> bytes:
    """Return the document with all objects and arrays below ``max_depth`` replaced by ``null``.

    Raises:
        ScanError: the document has too many tokens.
    """
    kept: list[bytes] = []
    depth = start = 0
    for token, begin, end in _tokens(document):
        if token in _OPEN:
            depth += 1
            if depth == max_depth + 1:
                kept.append(document[start:begin] + b"null")
        elif token in _CLOSE:
            if depth == max_depth + 1:
                start = end
            depth -= 1
    kept.append(document[start:] if depth <= max_depth else b"")
    return b"".join(kept)


def _split(document: bytes, opening: bytes, closing: bytes) -> Iterator[bytes]:
    if not (document.startswith(opening) and document.endswith(closing)):
        raise ScanError("the brackets are not balanced")
    depth, start = 0, 1
    for token, begin, end in _tokens(document):
        if token in _OPEN:
            depth += 1
        elif token in _CLOSE:
            depth -= 1
            if depth == 0:
                if end != len(document):
                    raise ScanError("there are bytes after the document")
                last = document[start:begin].strip()
                if last:
                    yield last
                return
        elif token == b"," and depth == 1:
            yield document[start:begin].strip()
            start = end
    raise ScanError("the brackets are not balanced")


def _tokens(document: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each token with its begin and its end. A string is yielded as its first byte."""
    for count, match in enumerate(_TOKEN.finditer(document)):
        if count == MAX_TOKENS:
            raise ScanError(f"the document has more than {MAX_TOKENS} tokens")
        begin, end = match.span()
        yield document[begin : begin + 1], begin, end
