"""Prepared statements on real connections."""

from collections.abc import Callable
from typing import Any

import pytest

from notification_service.database import prepared
from notification_service.database.pool import Pool


@pytest.fixture
def pool(database: Any, open_pool: Callable[..., Pool]) -> Pool:
    return open_pool(database)


def _run(pool: Pool, statement: str, **values: Any) -> list[Any]:
    with pool.cursor() as cursor:
        prepared.execute(cursor, statement, values)
        return list(cursor.fetchall())


def _names(pool: Pool) -> set[str]:
    return {name for (name,) in _run(pool, "SELECT name FROM pg_prepared_statements")}


def test_a_statement_is_prepared_once_and_takes_other_values(pool: Pool) -> None:
    statement = (
        "SELECT count(*) FROM unnest(%(items)s::text[]) AS i WHERE i LIKE %(pattern)s || '%%'"
    )
    assert _run(pool, statement, items=["a", "b", "ab"], pattern="a") == [(2,)]
    before = _names(pool)
    assert _run(pool, statement, items=["b"], pattern="b") == [(1,)]
    assert _names(pool) == before


def test_a_value_is_never_part_of_the_statement(pool: Pool) -> None:
    text = "'; DROP TABLE alerts; --"
    for _ in range(2):
        assert _run(pool, "SELECT %(text)s::text", text=text) == [(text,)]


def test_the_least_recently_used_statement_is_removed(pool: Pool) -> None:
    first, number = "SELECT 0", prepared.MAX_STATEMENTS
    for limit in range(1, number):
        _run(pool, f"SELECT {limit}")
        _run(pool, first)
    assert len(_names(pool)) == number
    assert _run(pool, first) == [(0,)]
    assert _run(pool, "SELECT 1") == [(1,)], "a removed statement is prepared again"


def test_a_statement_survives_a_transaction_that_is_rolled_back(pool: Pool) -> None:
    statement = "SELECT %(number)s::integer"
    with pool.connection() as connection, connection.cursor() as cursor:
        prepared.execute(cursor, statement, {"number": 1})
        connection.rollback()
    assert _run(pool, statement, number=2) == [(2,)]


def test_several_statements_return_the_rows_of_the_last_one(pool: Pool) -> None:
    text = "'; SELECT 'wrong"
    statements: list[tuple[str, dict[str, Any]]] = [
        ("SELECT %(number)s::integer", {"number": 1}),
        ("SELECT %(text)s::text", {"text": text}),
    ]
    for _ in range(2):
        with pool.cursor() as cursor:
            prepared.execute_all(cursor, statements)
            assert cursor.fetchall() == [(text,)]
