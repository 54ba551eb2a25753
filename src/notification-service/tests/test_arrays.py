"""Arrays in PostgreSQL's text form, read by the real server."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notification_service.database import arrays
from notification_service.database.pool import Pool

#: Every character that PostgreSQL stores in a text.
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@pytest.fixture
def pool(postgres: Any, open_pool: Callable[..., Pool]) -> Pool:
    return open_pool(postgres.fresh_database())


def _read(pool: Pool, array: str, kind: str) -> Any:
    with pool.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", (array,))
        (value,) = cursor.fetchone() or (None,)
    return value


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_TEXTS))
def test_the_server_reads_the_same_texts(pool: Pool, texts: list[str]) -> None:
    assert _read(pool, arrays.quoted(texts), "text") == texts


def test_the_server_reads_texts_with_a_meaning_in_arrays(pool: Pool) -> None:
    texts = ["NULL", "", " ", "a,b", '"', "\\", "{}", "{a}", "'; DROP", "\n"]
    assert _read(pool, arrays.quoted(texts), "text") == texts


def test_the_server_reads_identifiers_and_numbers(pool: Pool) -> None:
    assert _read(pool, arrays.literal([UUID(int=1), UUID(int=2)]), "uuid") == (
        "{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002}"
    )
    numbers = [-(2**63), 0, 2**63 - 1]
    assert _read(pool, arrays.literal(numbers), "bigint") == numbers
    assert _read(pool, arrays.literal([]), "bigint") == []
