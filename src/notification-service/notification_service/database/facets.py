"""Numbers of alerts over a complete filter result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from auditflow.contract.alert import BySeverity, Counts, Facets, FacetValue, Status, Total
from auditflow.contract.event import Severity
from auditflow.contract.level import Level
from notification_service import techniques
from notification_service.database import candidates, day_counts, observable_facets, sampling
from notification_service.database.alert_filters import (
    NOT_FEW,
    SEARCHED_AT_ONCE,
    Conditions,
    Few,
    conditions,
    observables_of,
    text_pattern,
    time_branches,
    with_status,
)
from notification_service.database.pool import Pool
from notification_service.database.sampling import Sample, sample_of
from notification_service.query import AlertFilter

#: Values that a facet lists, those with the most alerts.
MAX_VALUES: Final = 50
#: The columns of the table ``alert_counts``, without the number.
_DIMENSIONS: Final = ("status", "level", "rule_id", "environment", "assignee", "verdict")
#: Conditions that neither ``alert_counts`` nor ``alert_days`` can answer.
_OTHERS: Final = (
    "actor", "host", "ip", "resource", "active_again", "snoozed", "updated_since", "opened_since",
    "q",
)  # fmt: skip
_FROM_COUNTS: Final = (
    "SELECT {dimensions}, sum(number)::bigint FROM alert_counts AS alerts WHERE {where}"
    " GROUP BY {dimensions} HAVING sum(number) <> 0"
)
_FROM_ALERTS: Final = (
    "SELECT {dimensions}, count(*) FROM ({branches}) AS alerts GROUP BY {dimensions}"
)
_BRANCH: Final = "SELECT {dimensions} FROM alerts WHERE {where} AND {branch}"
_SIZE: Final = "SELECT count(*) FROM alerts WHERE {where}"
# The sample is read from its index. Only then are the rows of the table read.
_FROM_SAMPLE: Final = """
    WITH chosen AS MATERIALIZED (SELECT alerts.alert_id FROM alerts WHERE {where})
    SELECT {dimensions}, count(*), (SELECT count(*) FROM chosen) FROM chosen CROSS JOIN LATERAL (
        SELECT * FROM alerts WHERE alerts.alert_id = chosen.alert_id AND {text} OFFSET 0
    ) AS found GROUP BY {dimensions}
"""
#: A frequent text is searched in at most this number of alerts. In more, it is searched in a sample
#: with about ``SEARCHED_SAMPLE`` alerts, because PostgreSQL must read each of them.
MAX_SEARCHED: Final = 50_000
SEARCHED_SAMPLE: Final = 5_000
_RULES: Final = """
    SELECT wanted.rule_id, newest.rule_title, newest.rule_tags
    FROM unnest(%s::text[]) AS wanted (rule_id)
    CROSS JOIN LATERAL (
        SELECT rule_title, rule_tags FROM alerts WHERE alerts.rule_id = wanted.rule_id
        ORDER BY last_seen DESC, alert_id DESC LIMIT 1
    ) AS newest
"""
_MERGE: Final = """
    WITH merged AS (DELETE FROM alert_counts RETURNING *)
    INSERT INTO alert_counts
    SELECT status, level, rule_id, environment, assignee, verdict, sum(number) FROM merged
    GROUP BY status, level, rule_id, environment, assignee, verdict HAVING sum(number) <> 0
"""


def read_counts(pool: Pool, query: AlertFilter) -> Counts:
    """The numbers of alerts that match, by status and by severity."""
    statuses: Counter[str] = Counter()
    severities: Counter[str] = Counter()
    for status, level, *_, number in _read(pool, query):
        statuses[status] += number
        severities[Level(level).severity] += number
    return Counts(
        total=statuses.total(),
        **{str(status): statuses[status] for status in Status},
        by_severity=BySeverity(**{str(each): severities[each] for each in Severity}),
    )


def read_total(pool: Pool, query: AlertFilter) -> Total:
    """The number of alerts that match."""
    found = _read_or_estimate(pool, query)
    return Total(sum(int(row[-1]) for row in found.rows), exact=found.sample is None)


def read_facets(pool: Pool, query: AlertFilter) -> Facets:
    """The numbers of alerts that match, by field."""
    found = _read_or_estimate(pool, query)
    rows = found.rows
    columns = {name: index for index, name in enumerate(_DIMENSIONS)}

    def facet(name: str, titles: dict[str, str] | None = None) -> tuple[FacetValue, ...]:
        numbers: Counter[str] = Counter()
        for row in rows:
            if (value := row[columns[name]]) is not None:
                numbers[value] += row[-1]
        common = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:MAX_VALUES]
        return tuple(FacetValue(value, n, (titles or {}).get(value)) for value, n in common)

    severities: Counter[str] = Counter()
    by_rule: Counter[str] = Counter()
    for row in rows:
        severities[Level(row[columns["level"]]).severity] += row[-1]
        by_rule[row[columns["rule_id"]]] += row[-1]
    total = by_rule.total()
    rules = _rules(pool, list(by_rule))
    observed = observable_facets.read(
        pool,
        query,
        total=total,
        most=MAX_VALUES,
        sample=found.sample,
        few=found.few,
    )
    return Facets(
        total=total,
        exact=found.sample is None,
        status=facet("status"),
        level=facet("level"),
        severity=tuple(FacetValue(str(value), n) for value, n in severities.most_common()),
        rule=facet("rule_id", {rule_id: title for rule_id, (title, _) in rules.items()}),
        technique=_techniques(by_rule, {rule_id: tags for rule_id, (_, tags) in rules.items()}),
        actor=observed.actor,
        host=observed.host,
        ip=observed.ip,
        sampled=observed.sampled,
        environment=facet("environment"),
        assignee=facet("assignee"),
        verdict=facet("verdict"),
    )


def merge_counts(pool: Pool) -> None:
    """Merge the rows of ``alert_counts`` and ``alert_days``.

    Two runs at the same time are safe.
    """
    for statement in (_MERGE, day_counts.MERGE):
        with pool.cursor() as cursor:
            cursor.execute(statement)


class _Numbers(Struct, frozen=True):
    """Rows of the dimensions and the number of alerts. ``sample`` if they are estimates.

    ``few`` are the parameters of the filter that few alerts match (``candidates``).
    """

    rows: Sequence[tuple[Any, ...]]
    sample: Sample | None = None
    few: Few = NOT_FEW


def _read_or_estimate(pool: Pool, query: AlertFilter) -> _Numbers:
    few = candidates.read(pool, query, most=candidates.MOST)
    if query.q is None or few:
        return _Numbers(_read(pool, query, few), few=few)
    without_text = msgspec.structs.replace(query, q=None)
    searched = _searched(pool, without_text)
    if searched <= MAX_SEARCHED:
        return _Numbers(_read(pool, query))
    sample = sample_of(searched, wanted=SEARCHED_SAMPLE)
    text = {"q": text_pattern(query)}
    others = _sampled(without_text, sample)
    statement = _FROM_SAMPLE.format(
        dimensions=", ".join(_DIMENSIONS), where=others.where, text=SEARCHED_AT_ONCE
    )
    with pool.cursor() as cursor:
        cursor.execute(statement, {**others.values, **text})
        rows = cursor.fetchall()
    return _Numbers(
        [(*values, round(number * searched / size)) for *values, number, size in rows], sample
    )


def _searched(pool: Pool, query: AlertFilter) -> int:
    """About how many alerts match a filter without a text."""
    if _is_counted(query) or observables_of(query):
        return sum(int(row[-1]) for row in _read(pool, query))
    largest = Sample(sampling.LARGEST_PART)
    matching = _sampled(query, largest)
    with pool.cursor() as cursor:
        cursor.execute(_SIZE.format(where=matching.where), matching.values)
        (size,) = cursor.fetchone() or (0,)
    return round(int(size) / largest.part)


def _sampled(query: AlertFilter, sample: Sample) -> Conditions:
    matching = conditions(query)
    matching.add("alerts.alert_id < %(sample_end)s::uuid", sample_end=sample.end)
    return matching


def _is_counted(query: AlertFilter) -> bool:
    """Whether the table ``alert_counts`` has the numbers of a filter."""
    return query.since is None and query.until is None and _is_counted_by_day(query)


def _is_counted_by_day(query: AlertFilter) -> bool:
    """Whether the table ``alert_days`` has the numbers of a filter, except for parts of days."""
    return all(getattr(query, name) is None for name in _OTHERS)


def _read(pool: Pool, query: AlertFilter, few: Few = NOT_FEW) -> Sequence[tuple[Any, ...]]:
    has_range = query.since is not None or query.until is not None
    if has_range and _is_counted_by_day(query):
        return _fetch(pool, *day_counts.statement(query, _DIMENSIONS))
    matching = conditions(with_status(query) if has_range else query, few=few)
    names = ", ".join(_DIMENSIONS)
    if _is_counted(query):
        statement = _FROM_COUNTS.format(dimensions=names, where=matching.where)
    else:
        branches = [
            _BRANCH.format(dimensions=names, where=matching.where, branch=branch)
            for branch in time_branches(query)
        ]
        statement = _FROM_ALERTS.format(dimensions=names, branches=" UNION ALL ".join(branches))
    return _fetch(pool, statement, matching.values)


def _fetch(pool: Pool, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with pool.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def _rules(pool: Pool, rule_ids: list[str]) -> dict[str, tuple[str, list[str]]]:
    """The title and the tags of each rule, from its newest alert."""
    with pool.cursor() as cursor:
        cursor.execute(_RULES, (rule_ids,))
        return {rule_id: (title, tags) for rule_id, title, tags in cursor.fetchall()}


def _techniques(
    by_rule: Mapping[str, int], tags: Mapping[str, Sequence[str]]
) -> tuple[FacetValue, ...]:
    numbers: Counter[str] = Counter()
    for rule_id, number in by_rule.items():
        for technique in techniques.of_tags(tags.get(rule_id, ())):
            numbers[technique] += number
    common = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:MAX_VALUES]
    return tuple(FacetValue(technique, number) for technique, number in common)
