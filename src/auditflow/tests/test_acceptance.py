"""The acceptance time is copied from message to message; invalid values are ignored."""

import time
from typing import Any

import pytest

from auditflow.contract import acceptance


def test_the_age_is_the_time_since_the_acceptance() -> None:
    before = time.time()
    headers = acceptance.new_header()
    age = acceptance.age_seconds(acceptance.copied_header(headers))
    assert age is not None
    assert 0 <= age <= time.time() - before + 0.001


def test_the_age_is_in_seconds() -> None:
    age = acceptance.age_seconds({acceptance.HEADER: int(time.time() * 1000) - 5_000})
    assert age is not None
    assert 5 <= age < 5 + 300


def test_a_clock_that_is_ahead_gives_no_negative_age() -> None:
    assert acceptance.age_seconds({acceptance.HEADER: int(time.time() * 1000) + 60_000}) == 0


#: The last valid time of acceptance, in milliseconds since 1970.
YEAR_2100_MS = 4_102_444_800_000
INVALID = ("1", 1.5, True, -1, YEAR_2100_MS + 1, 2**53, 10**300, None, [1], b"1")


@pytest.mark.parametrize("headers", [None, {}, *({acceptance.HEADER: v} for v in INVALID)])
def test_a_missing_or_invalid_acceptance_time_is_ignored(headers: Any) -> None:
    assert acceptance.age_seconds(headers) is None
    assert acceptance.copied_header(headers) == {}


@pytest.mark.parametrize("value", [0, 1, YEAR_2100_MS])
def test_the_limits_of_an_acceptance_time_are_valid(value: int) -> None:
    headers = {acceptance.HEADER: value}
    assert acceptance.copied_header(headers) == headers
