"""Facets of ranges of time are exact: full days come from a table, the other hours from alerts."""

import datetime as dt
import random
from typing import Any

import pytest

from notification_service.database.alert_filters import conditions
from notification_service.database.facets import merge_counts, read_facets, read_total
from notification_service.query import parse_filter

DAY = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
BORDERS = (
    DAY, DAY - dt.timedelta(microseconds=1), DAY + dt.timedelta(microseconds=1), DAY + 5 * HOUR,
    DAY + 24 * HOUR, DAY + 48 * HOUR, DAY - 30 * HOUR, DAY + 47.5 * HOUR,
)  # fmt: skip
OTHERS: tuple[dict[str, str], ...] = (
    {}, {"status": "open"}, {"level": "high,critical"}, {"verdict": "benign"}, {"rule": "rule-1"},
    {"status": "resolved", "environment": "prod", "assignee": ""}, {"technique": "T1110"},
    {"actor": "user-1*"}, {"q": "user-2"},
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_numbers_of_any_range_are_those_of_a_count(
    store: Any, make_finding: Any, query: Any, open_pool: Any, database: Any, seed: int
) -> None:
    # Given alerts whose first and last events are around the borders of days
    chosen = random.Random(seed)
    pool = open_pool(database)
    store.store(
        [
            make_finding(
                user=f"user-{n}", rule=f"rule-{n % 3}", level=chosen.choice(("low", "high"))
            )
            for n in range(60)
        ]
    )

    def change() -> None:
        for (alert_id,) in query("SELECT alert_id FROM alerts ORDER BY random() LIMIT 25"):
            first, last = sorted(chosen.choices(BORDERS, k=2))
            status, verdict = chosen.choice((("open", None), ("resolved", "benign")))
            query(
                "UPDATE alerts SET first_seen = %s, last_seen = %s, status = %s, verdict = %s"
                " WHERE alert_id = %s",
                first, last, status, verdict, alert_id,
            )  # fmt: skip
        query("DELETE FROM alerts WHERE alert_id IN (SELECT alert_id FROM alerts LIMIT 2)")

    for _ in range(4):
        change()
        if chosen.random() < 0.5:
            merge_counts(pool)

        # When any range is counted, with any other condition
        for others in OTHERS:
            since, until = (chosen.choice((None, *BORDERS)) for _ in range(2))
            if since and until:
                since, until = sorted((since, until))
            times = {"since": since, "until": until}
            parameters = others | {name: t.isoformat() for name, t in times.items() if t}
            criteria = parse_filter(parameters.items())
            facets = read_facets(pool, criteria)

            # Then the numbers are those of a count of all alerts
            matching = conditions(criteria)
            with pool.cursor() as cursor:
                cursor.execute(
                    f"SELECT status, count(*) FROM alerts WHERE {matching.where} GROUP BY 1",
                    matching.values,
                )
                expected = dict(cursor.fetchall())
            assert {it.value: it.count for it in facets.status} == expected, parameters
            assert facets.total == read_total(pool, criteria).total == sum(expected.values())


def test_ranges_at_the_ends_of_the_calendar(
    store: Any, make_finding: Any, open_pool: Any, database: Any
) -> None:
    store.store([make_finding()])
    pool = open_pool(database)
    for parameters, total in (
        ({"since": "9999-12-31T23:59:59Z"}, 0),
        ({"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}, 1),
        ({"until": "0001-01-01T00:00:00Z"}, 0),
    ):
        assert read_facets(pool, parse_filter(parameters.items())).total == total


def test_only_days_with_differences_are_merged(
    store: Any, make_finding: Any, query: Any, open_pool: Any, database: Any
) -> None:
    pool = open_pool(database)
    for hours in (0, 24, 48):
        for bucket in range(3):
            at = DAY + hours * HOUR
            store.store([make_finding(user=f"user-{hours}-{bucket}", at=at)])
    merge_counts(pool)
    untouched = query("SELECT day, ctid::text FROM alert_days ORDER BY day")
    assert len(untouched) == 3

    store.store([make_finding(user="another", at=DAY)])
    merge_counts(pool)

    after = query("SELECT day, ctid::text FROM alert_days ORDER BY day")
    assert after[1:] == untouched[1:]
    assert query("SELECT number, merged FROM alert_days ORDER BY day LIMIT 1") == [(4, True)]
