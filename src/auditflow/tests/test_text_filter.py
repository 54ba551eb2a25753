"""The text of filters: a prefix, and the exact form of every value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.contract.text_filter import TextFilter, exact, parse


@pytest.mark.parametrize(
    ("text", "value", "is_prefix"),
    [
        ("alice", "alice", False),
        ("al*ce", "al*ce", False),
        ("al*", "al", True),
        ("*", "", True),
        ("**", "*", True),
        ("al\\*", "al*", False),
        ("al\\\\*", "al\\", True),
        ("al\\\\\\*", "al\\*", False),
        ("corp\\alice", "corp\\alice", False),
        ("C:\\\\*", "C:\\", True),
        ("C:\\", "C:\\", False),
    ],
)
def test_an_asterisk_at_the_end_is_a_prefix_unless_it_is_escaped(
    text: str, value: str, is_prefix: bool
) -> None:
    assert parse(text) == TextFilter(value, is_prefix)


@given(st.text(alphabet="a\\*"))
def test_every_value_has_an_exact_form(value: str) -> None:
    assert parse(exact(value)) == TextFilter(value)


def test_a_value_without_an_asterisk_at_the_end_is_its_own_exact_form() -> None:
    assert exact("a*b\\") == "a*b\\"
