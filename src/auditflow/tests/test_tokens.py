"""Tokens that clients show, and the time in which two of them are good."""

import pytest
from pydantic import SecretStr

from auditflow.http.tokens import Tokens

NOW, BEFORE = SecretStr("tökén"), SecretStr("that of before")


@pytest.mark.parametrize("shown", ["", "t", "that of before", "tökén ", "tökénthat of before"])
def test_one_token_and_no_other(shown: str) -> None:
    tokens = Tokens(NOW)
    assert tokens.matches("tökén".encode())
    assert not tokens.matches(shown.encode())


def test_while_it_is_rotated_that_of_before_is_good_too() -> None:
    tokens = Tokens(NOW, BEFORE)
    assert tokens.matches("tökén".encode())
    assert tokens.matches(b"that of before")
    assert not tokens.matches(b"")
    assert tokens.values[0] == "tökén"
