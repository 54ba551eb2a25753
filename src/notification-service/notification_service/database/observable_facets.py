"""The users, hosts and addresses that most alerts of a filter have.

They are exact for a filter with at most ``MAX_EXACT`` alerts. For more alerts they are estimates
from a random sample, because counting the observables of a million alerts takes seconds.
"""

from typing import Any, Final

from msgspec import Struct

from auditflow.contract import text_filter
from auditflow.contract.alert import FacetValue
from notification_service.database.alert_filters import NOT_FEW, Few, conditions
from notification_service.database.pool import Pool
from notification_service.database.sampling import Sample, sample_of
from notification_service.query import AlertFilter

#: Alerts whose observables are counted exactly.
MAX_EXACT: Final = 10_000
#: Expected number of alerts of a sample.
SAMPLE: Final = 2_000
#: A value that fewer alerts of the sample have is not listed: its number would be too inaccurate.
LEAST_IN_SAMPLE: Final = 10

_KINDS: Final = {"user": "actor", "host": "host", "address": "ip"}
# OFFSET 0 makes PostgreSQL read the observables of each alert by the index, never all of them. The
# condition on the kind is outside: without statistics of a new table, PostgreSQL would search the
# primary key by the kind, once for each alert.
_COUNT: Final = """
    WITH matching AS MATERIALIZED (SELECT alerts.alert_id FROM alerts WHERE {where}),
    counted AS (
        SELECT kind, value, count(*) AS number
        FROM matching CROSS JOIN LATERAL (
            SELECT kind, value FROM alert_observables AS o
            WHERE o.alert_id = matching.alert_id OFFSET 0
        ) AS found
        WHERE kind IN ('user', 'host', 'address')
        GROUP BY kind, value HAVING count(*) >= %(least)s
    )
    SELECT kind, value, number, size FROM (SELECT count(*) AS size FROM matching) AS sizes
    LEFT JOIN (
        SELECT counted.*, row_number() OVER (PARTITION BY kind ORDER BY number DESC, value) AS place
        FROM counted
    ) AS ranked ON place <= %(most)s
    ORDER BY kind, place
"""


class ObservableFacets(Struct, frozen=True):
    """The facets by the parameter that filters by them.

    ``sampled`` is the number of alerts of the sample, or None if the numbers are exact.
    """

    actor: tuple[FacetValue, ...] = ()
    host: tuple[FacetValue, ...] = ()
    ip: tuple[FacetValue, ...] = ()
    sampled: int | None = None


def read(
    pool: Pool,
    query: AlertFilter,
    *,
    total: int,
    most: int,
    sample: Sample | None = None,
    few: Few = NOT_FEW,
) -> ObservableFacets:
    """The facets of a filter that ``total`` alerts match, each with at most ``most`` values.

    ``sample`` is the sample that ``total`` was estimated from, if it is an estimate. ``few`` are
    the parameters of the filter that few alerts match (``candidates``).
    """
    matching = conditions(query, few=few)
    is_exact = sample is None and total <= MAX_EXACT
    if not is_exact:
        end = (sample or sample_of(total, wanted=SAMPLE)).end
        matching.add("alerts.alert_id < %(sample_end)s::uuid", sample_end=end)
    least = 1 if is_exact else LEAST_IN_SAMPLE
    with pool.cursor() as cursor:
        cursor.execute(
            _COUNT.format(where=matching.where), {**matching.values, "least": least, "most": most}
        )
        rows = cursor.fetchall()
    sampled = rows[0][-1]
    facets: dict[str, Any] = dict.fromkeys(_KINDS.values(), ())
    for kind, value, number, _ in rows:
        if kind is None:
            break
        scaled = number if is_exact else round(number * total / sampled)
        exact = text_filter.exact(value)
        facets[_KINDS[kind]] += (
            FacetValue(value, scaled, filter=exact if exact != value else None),
        )
    return ObservableFacets(**facets, sampled=None if is_exact else sampled)
