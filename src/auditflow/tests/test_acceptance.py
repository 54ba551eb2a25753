"""The moment of acceptance travels, and what is no such moment is left out."""

import time
from typing import Any

import pytest

from auditflow.contract import acceptance


def test_the_age_is_that_since_the_stamp() -> None:
    before = time.time()
    headers = acceptance.new_header()
    age = acceptance.age_seconds(acceptance.copied_header(headers))
    assert age is not None
    assert 0 <= age <= time.time() - before + 0.001


def test_a_clock_that_is_ahead_gives_no_negative_age() -> None:
    assert acceptance.age_seconds({acceptance.HEADER: int(time.time() * 1000) + 60_000}) == 0


@pytest.mark.parametrize(
    "headers", [None, {}, *({acceptance.HEADER: odd} for odd in ("1", 1.5, True))]
)
def test_what_came_past_the_ingest_has_no_age(headers: Any) -> None:
    assert acceptance.age_seconds(headers) is None
    assert acceptance.copied_header(headers) == {}
