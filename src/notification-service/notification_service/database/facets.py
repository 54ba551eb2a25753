"""Numbers of alerts over a complete filter result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from auditflow.contract.alert import BySeverity, Counts, Facets, FacetValue, Status
from auditflow.contract.event import Severity
from auditflow.contract.level import Level
from notification_service import techniques
from notification_service.database import observable_facets
from notification_service.database.alert_filters import conditions
from notification_service.database.pool import Pool
from notification_service.query import AlertFilter

#: Values that a facet lists, those with the most alerts.
MAX_VALUES: Final = 50
#: The columns of the table ``alert_counts``, without the number.
_DIMENSIONS: Final = ("status", "level", "rule_id", "environment", "assignee", "verdict")
#: Conditions that ``alert_counts`` cannot answer.
_OTHERS: Final = (
    "actor", "host", "ip", "resource", "active_again", "snoozed", "since", "until",
    "updated_since", "opened_since", "q",
)  # fmt: skip
_FROM_COUNTS: Final = (
    "SELECT {dimensions}, sum(number)::bigint FROM alert_counts AS alerts WHERE {where}"
    " GROUP BY {dimensions} HAVING sum(number) <> 0"
)
_FROM_ALERTS: Final = (
    "SELECT {dimensions}, count(*) FROM alerts WHERE {where} GROUP BY {dimensions}"
)
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


def read_total(pool: Pool, query: AlertFilter) -> int:
    """The number of alerts that match."""
    return sum(int(row[-1]) for row in _read(pool, query))


def read_facets(pool: Pool, query: AlertFilter) -> Facets:
    """The numbers of alerts that match, by field."""
    rows = _read(pool, query)
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
    observed = observable_facets.read(pool, query, total=total, most=MAX_VALUES)
    return Facets(
        total=total,
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
    """Merge the rows of ``alert_counts``. Two runs at the same time are safe."""
    with pool.cursor() as cursor:
        cursor.execute(_MERGE)


def _read(pool: Pool, query: AlertFilter) -> Sequence[tuple[Any, ...]]:
    matching = conditions(query)
    if query.since is not None and not query.status:
        # The index by activity begins with the status. With a condition on it, PostgreSQL reads
        # the alerts since a time from the index instead of all alerts.
        matching.add("alerts.status = ANY(%(status)s)", status=[str(status) for status in Status])
    from_counts = all(getattr(query, name) is None for name in _OTHERS)
    statement = (_FROM_COUNTS if from_counts else _FROM_ALERTS).format(
        dimensions=", ".join(_DIMENSIONS), where=matching.where
    )
    with pool.cursor() as cursor:
        cursor.execute(statement, matching.values)
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
