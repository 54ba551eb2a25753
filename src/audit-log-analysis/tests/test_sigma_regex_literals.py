"""Each text that a regular expression matches contains its required literal."""

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_analysis.sigma.regex_literals import required


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("whoami", "whoami"),
        (r"^/home/[^/]+/\.ssh/authorized_keys$", "/.ssh/authorized_keys"),
        (r"curl\s+-o", "curl"),
        ("colou?r", "colo"),
        ("ab*c", "a"),
        ("ab+cd", "ab"),
        ("a{0,3}bc", "bc"),
        ("(?i)Mimikatz", "mimikatz"),
        ("one|two", ""),
        ("(one|two)three", "three"),
        ("[abc]def", "def"),
        (r"\x41BC", ""),
        ("", ""),
    ],
)
def test_required(pattern: str, literal: str) -> None:
    assert required(pattern) == literal


pieces = st.sampled_from(
    ["a", "b", "ab", "xyz", ".", ".*", "a?", "b*", "a+", "(ab)?", "(a|b)", "[ab]", "[^x]", "x{0,1}",
     "y{2}", r"\.", r"\s", r"\w+", "|", "^", "$", "(?:xyz)*", "[]a]", r"[\]b]", r"(\)a)"]
)  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(st.lists(pieces, max_size=6).map("".join), st.text("abxyz. ])", max_size=12))
def test_never_more_than_is_certain(pattern: str, text: str) -> None:
    try:
        matches = re2.compile(pattern).search(text) is not None
    except re2.error:
        return
    if matches:
        assert required(pattern) in text.lower()
