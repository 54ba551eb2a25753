"""Fragments of pages, joined with and without compression."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from event_audit_dashboard.rendering import fragments
from event_audit_dashboard.rendering.fragments import Fragment

CONTENT = st.binary(max_size=300) | st.integers(1, 200_000).map(lambda size: b"<p>" * size)
PARTS = st.lists(CONTENT | CONTENT.map(Fragment), max_size=12)


@given(PARTS)
def test_the_compressed_parts_are_one_gzip_file_with_the_same_content(
    parts: list[fragments.Part],
) -> None:
    content = fragments.join(parts)
    for _ in range(2):  # the second time, all fragments are compressed already
        compressed = fragments.join_compressed(parts)
        assert gzip.decompress(compressed) == content
        decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
        assert decompressor.decompress(compressed) == content
        assert decompressor.eof
        assert decompressor.unused_data == b"", "a browser would see a second gzip member"


def test_a_value_of_one_response_does_not_change_the_length() -> None:
    """The text of an attacker before a secret reveals nothing about it."""
    secret = b"csrf-token-of-the-session"
    guesses = [b"csrf-token-of-the-session" * 8, b"x9Kq0-_aaBtYw3mLz7Vd2RfGh" * 8]
    lengths = set()
    for guess in guesses:
        text = Fragment(b"<p>" * 100 + guess)
        without = len(fragments.join_compressed([text, b""]))
        lengths.add(len(fragments.join_compressed([text, secret])) - without)
    assert len(lengths) == 1
