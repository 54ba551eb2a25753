"""Newline-delimited JSON: one document per line (https://github.com/ndjson)."""

from collections.abc import Iterator

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def split_lines(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the location ("line 3") and the bytes of each line that is not blank."""
    for number, line in enumerate(body.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), start=1):
        stripped = line.strip()
        if stripped:
            yield f"line {number}", stripped


def is_ndjson(document: bytes) -> bool:
    """Whether each line is a document: the first line is a complete object, and others follow."""
    first, newline, _ = document.strip().partition(b"\n")
    return bool(newline) and first.startswith(b"{") and first.rstrip().endswith(b"}")
