"""The SQL conditions of an alert filter."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from auditflow.contract import text_filter
from auditflow.contract.alert import Status
from auditflow.contract.level import Level
from notification_service import techniques
from notification_service.observables import Kind, normalize
from notification_service.query import AlertFilter

_EQUAL: Final = {"rule": "rule_id", "environment": "environment"}
#: Parameters that search the observables of all findings of an alert.
_OBSERVABLES: Final[dict[str, Kind]] = {
    "actor": "user",
    "host": "host",
    "ip": "address",
    "resource": "resource",
}
# In this form PostgreSQL can use the index alerts_snoozed.
_SNOOZED: Final = "(alerts.snoozed_until_escalation OR alerts.snoozed_until > now())"
_NOT_SNOOZED: Final = (
    "NOT (alerts.snoozed_until_escalation OR coalesce(alerts.snoozed_until > now(), false))"
)
# The rules are those of alert_counts, so that no condition reads all alerts. The newest alert of a
# rule has its current tags.
_TECHNIQUE: Final = """
    alerts.rule_id = ANY (ARRAY(
        SELECT fired.rule_id FROM (SELECT DISTINCT rule_id FROM alert_counts) AS fired
        CROSS JOIN LATERAL (
            SELECT rule_tags FROM alerts AS newest WHERE newest.rule_id = fired.rule_id
            ORDER BY last_seen DESC, alert_id DESC LIMIT 1
        ) AS current
        WHERE EXISTS (
            SELECT FROM unnest(rule_tags) AS tag
            WHERE lower(tag) = %(technique)s::text
                OR starts_with(lower(tag), %(technique)s::text || '.'))
    ))
"""
_SEARCHED: Final = ("title", "description", "actor", "server_hostname", "resource", "client_ip")
#: The searched text of an alert.
SEARCHED: Final = (
    "concat_ws(E'\\x1f', alerts.title, alerts.description, alerts.actor, alerts.server_hostname,"
    " alerts.resource, alerts.client_ip)"
)
#: The condition of a text, as one comparison. It takes less than half the time of six, but
#: PostgreSQL cannot estimate how many alerts match. A text that contains U+001F matches no alert.
SEARCHED_AT_ONCE: Final = f"{SEARCHED} ILIKE %(q)s"
#: The condition of an observable: PostgreSQL looks at each alert, or reads the alerts of the
#: observable first.
_OF_MANY: Final = (
    "EXISTS (SELECT FROM alert_observables AS o WHERE o.alert_id = alerts.alert_id"
    " AND o.kind = '{kind}' AND o.value LIKE %({name})s)"
)
_OF_FEW: Final = (
    "alerts.alert_id IN (SELECT o.alert_id FROM alert_observables AS o"
    " WHERE o.kind = '{kind}' AND o.value LIKE %({name})s)"
)
#: Alerts that lasted longer have an index of their own (``alerts_long``).
LONG: Final = "interval '6 hours'"


class Few(Struct, frozen=True):
    """The parameters of a filter that few alerts match.

    ``texts`` are the alerts that contained the text ``q``, or a similar one, shortly before. None
    if they are many, or if there is no text. ``expected`` is about the number of alerts that match
    the observables and the text; None if it is not known. ``is_ordered``: alerts are read in an
    order and compared with the few alerts, instead of reading these.
    """

    observables: frozenset[str] = frozenset()
    texts: Sequence[str] | None = None
    expected: int | None = None
    is_ordered: bool = False

    def __bool__(self) -> bool:
        return bool(self.observables) or self.texts is not None


NOT_FEW: Final = Few()


def levels(query: AlertFilter) -> tuple[Level, ...]:
    """The levels that the filter selects by level and by severity. Empty means all levels."""
    if not query.severity:
        return query.level
    allowed = query.level or tuple(Level)
    # A contradiction such as level=critical&severity=INFO selects nothing, not everything.
    return tuple(level for level in allowed if level.severity in query.severity) or _NO_LEVEL


_NO_LEVEL: Final[tuple[Any, ...]] = ("none",)


class Conditions:
    """Conditions on the table ``alerts``, and their parameters."""

    def __init__(self) -> None:
        self._parts: list[str] = ["true"]
        self.values: dict[str, Any] = {}

    def add(self, condition: str, **values: Any) -> None:
        """Add a condition with its parameters."""
        self._parts.append(condition)
        self.values.update(values)

    @property
    def where(self) -> str:
        """All conditions, combined with AND. It contains only constants and parameters."""
        return " AND ".join(self._parts)


def observables_of(query: AlertFilter) -> dict[str, tuple[Kind, str]]:
    """The searched observables, by parameter: the kind, and a LIKE pattern."""
    return {
        name: (kind, _pattern(value))
        for name, kind in _OBSERVABLES.items()
        if (value := getattr(query, name)) is not None
    }


def conditions(
    query: AlertFilter,
    *,
    with_status_and_level: bool = True,
    few: Few = NOT_FEW,
) -> Conditions:
    """The conditions of a filter.

    ``few`` are the parameters that ``candidates`` found few alerts for.
    """
    found = Conditions()
    if with_status_and_level:
        if query.status:
            found.add("alerts.status = ANY(%(status)s)", status=_texts(query.status))
        if selected := levels(query):
            found.add("alerts.level = ANY(%(level)s)", level=_texts(selected))
    _add_others(query, found.add)
    for name, (kind, pattern) in observables_of(query).items():
        condition = _OF_FEW if name in few.observables else _OF_MANY
        condition = condition.format(name=name, kind=kind)
        found.add(_in_order(condition) if few.is_ordered else condition, **{name: pattern})
    if few.texts is not None:
        condition = "alerts.alert_id = ANY(%(texts)s::uuid[])"
        found.add(_in_order(condition) if few.is_ordered else condition, texts=list(few.texts))
    return found


def _in_order(condition: str) -> str:
    """The condition in a form for which PostgreSQL builds a hash table once."""
    return f"({condition}) IS TRUE"


def text_pattern(query: AlertFilter) -> str | None:
    """The LIKE pattern of the searched text."""
    return None if query.q is None else f"%{escape_like(query.q)}%"


def _add_others(query: AlertFilter, add: Callable[..., None]) -> None:
    if query.verdict:
        add("alerts.verdict = ANY(%(verdict)s)", verdict=_texts(query.verdict))
    for name, column in _EQUAL.items():
        if (value := getattr(query, name)) is not None:
            add(f"alerts.{column} = %({name})s", **{name: value})
    if query.technique is not None:
        add(_TECHNIQUE, technique=techniques.tag_of(query.technique))
    if query.assignee == "":
        add("alerts.assignee IS NULL")
    elif query.assignee is not None:
        add("alerts.assignee = %(assignee)s", assignee=query.assignee)
    if query.active_again is not None:
        # A constant, so that PostgreSQL can use the index alerts_active_again.
        add("alerts.active_again" if query.active_again else "NOT alerts.active_again")
    if query.snoozed is not None:
        add(_SNOOZED if query.snoozed else _NOT_SNOOZED)
    _add_times(query, add)
    if query.q is not None:
        searched = " OR ".join(f"alerts.{column} ILIKE %(q)s" for column in _SEARCHED)
        add(f"({searched})", q=text_pattern(query))


def _add_times(query: AlertFilter, add: Callable[..., None]) -> None:
    # An alert was active in the range if it has events before its end and after its start.
    if query.since is not None:
        add("alerts.last_seen >= %(since)s", since=query.since)
    if query.until is not None:
        add("alerts.first_seen <= %(until)s", until=query.until)
    if query.updated_since is not None:
        add("alerts.updated_at >= %(updated_since)s", updated_since=query.updated_since)
    if query.opened_since is not None:
        add("alerts.opened_at >= %(opened_since)s", opened_since=query.opened_since)


def _pattern(text: str) -> str:
    """The LIKE pattern of a searched value or prefix."""
    found = text_filter.parse(text)
    return escape_like(normalize(found.value)) + ("%" if found.is_prefix else "")


def time_branches(query: AlertFilter) -> list[str]:
    """Conditions that divide the alerts of a filter with an end, in addition to the filter.

    Alerts that were active before a time are all older alerts, or some newer ones. The branches
    bound what PostgreSQL reads: alerts that ended soon after the time, and alerts that lasted long.
    """
    if query.until is None:
        return ["true"]
    border = f"%(until)s::timestamptz + {LONG}"
    return [
        f"alerts.last_seen <= {border}",
        f"alerts.last_seen > {border} AND alerts.last_seen - alerts.first_seen > {LONG}",
    ]


def with_status(query: AlertFilter) -> AlertFilter:
    """The filter with a condition on the status.

    The index by activity begins with the status. With a condition on it, PostgreSQL reads the
    alerts since a time from the index instead of all alerts.
    """
    return query if query.status else msgspec.structs.replace(query, status=tuple(Status))


def escape_like(text: str) -> str:
    """The text with all characters that LIKE interprets escaped."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return text


def _texts(values: Iterable[Any]) -> list[str]:
    return [str(value) for value in values]
