"""The alerts of a searched user, host, address, resource or text, if they are few.

PostgreSQL cannot estimate their number well. If they are listed first, it reads only these alerts,
wherever they are in the order of the list. Otherwise it reads the list in its order, and soon finds
enough of them.
"""

from typing import Final

from notification_service.database import texts
from notification_service.database.alert_filters import Few, observables_of, text_pattern
from notification_service.database.pool import Pool
from notification_service.query import AlertFilter

#: Alerts that a statement without an order reads one by one.
MOST: Final = 10_000
_NUMBER: Final = """
    SELECT count(*) FROM (
        SELECT FROM alert_observables WHERE kind = %(kind)s AND value LIKE %(pattern)s
        LIMIT %(limit)s
    ) AS found
"""


def read(pool: Pool, query: AlertFilter, *, most: int) -> Few:
    """The parameters of the filter that at most ``most`` alerts match."""
    observables = set()
    numbers = []
    for name, (kind, pattern) in observables_of(query).items():
        with pool.cursor() as cursor:
            cursor.execute(_NUMBER, {"kind": kind, "pattern": pattern, "limit": most + 1})
            (number,) = cursor.fetchone() or (0,)
        if number <= most:
            observables.add(name)
            numbers.append(number)
    found = None
    if (text := text_pattern(query)) is not None:
        matches = texts.find(pool, text, most=most)
        found = matches.alerts
        numbers.append(matches.expected)
    return Few(observables=frozenset(observables), texts=found, expected=min(numbers, default=None))
