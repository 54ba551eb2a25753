"""Newline-delimited JSON: one event a line, in our own shape (https://github.com/ndjson)."""

from collections.abc import Iterator

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def lines(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Each line that is not blank, with its number in the body."""
    for number, line in enumerate(body.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), start=1):
        stripped = line.strip()
        if stripped:
            yield f"line {number}", stripped
