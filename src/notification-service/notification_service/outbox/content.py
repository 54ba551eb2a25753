"""The content of a notification: a snapshot that is the same for every attempt to send it. Pure."""

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from msgspec import Struct

from notification_service.alert import Alert

#: Alerts that a notification lists; of more, it lists the most severe and counts the rest.
MAX_LISTED: Final = 20
#: Rules that a notification counts by name.
MAX_RULES: Final = 10
#: Rules that are counted at all while a notification is made.
_MAX_COUNTED: Final = 10_000


class AlertLine(Struct, frozen=True, kw_only=True):
    """One alert in a notification."""

    alert_id: UUID
    reason: str
    rule: str
    title: str
    description: str
    level: str
    severity: str
    environment: str
    entity: Mapping[str, str]
    actor: str | None
    client_ip: str | None
    host: str | None
    resource: str | None
    count: int
    first_seen: dt.datetime
    last_seen: dt.datetime
    opened_at: dt.datetime
    runbook: str | None


class RuleCount(Struct, frozen=True):
    """The number of alerts of a rule in a notification."""

    rule: str
    title: str
    count: int


class Content(Struct, frozen=True, kw_only=True):
    """One notification, before it is rendered."""

    kind: str
    group: Mapping[str, str]
    total: int
    by_reason: Mapping[str, int]
    by_level: Mapping[str, int]
    by_rule: tuple[RuleCount, ...]
    alerts: tuple[AlertLine, ...]
    #: Steps of an escalation are counted from 1.
    step: int | None = None


class Summary:
    """Collects the alerts of one notification. Memory is bounded whatever their number."""

    def __init__(self) -> None:
        self.total = 0
        self.oldest_at: dt.datetime | None = None
        self._reasons: Counter[str] = Counter()
        self._levels: Counter[str] = Counter()
        self._rules: Counter[str] = Counter()
        self._titles: dict[str, str] = {}
        #: The most severe alerts; of equal ones the earliest.
        self._listed: list[tuple[int, float, str, AlertLine]] = []

    def add(self, alert: Alert, reason: str) -> None:
        """Count one alert, and list it while there is room or it is more severe than another."""
        self.total += 1
        self._reasons[reason] += 1
        self._levels[alert.level.value] += 1
        if alert.rule.id in self._titles or len(self._titles) < _MAX_COUNTED:
            self._titles[alert.rule.id] = alert.rule.title
            self._rules[alert.rule.id] += 1
        if self.oldest_at is None or alert.opened_at < self.oldest_at:
            self.oldest_at = alert.opened_at
        entry = (
            alert.level.rank,
            -alert.opened_at.timestamp(),
            str(alert.alert_id),
            line_of(alert, reason),
        )
        if len(self._listed) < MAX_LISTED:
            heapq.heappush(self._listed, entry)
        else:
            heapq.heappushpop(self._listed, entry)

    def replace_counts(self, counts: Iterable[tuple[str, str, str, str, int, dt.datetime]]) -> None:
        """Take exact counts instead: rule, title, level, reason, alerts, earliest opening."""
        self.total = 0
        self._reasons.clear()
        self._levels.clear()
        self._rules.clear()
        for rule, title, level, reason, number, opened_at in counts:
            self.total += number
            self._reasons[reason] += number
            self._levels[level] += number
            self._titles[rule] = title
            self._rules[rule] += number
            if self.oldest_at is None or opened_at < self.oldest_at:
                self.oldest_at = opened_at

    def content(self, *, kind: str, group: Mapping[str, str], step: int | None = None) -> Content:
        """The notification about the alerts so far. ``step`` of an escalation: from 1.

        ``group`` are the labels of the group of alerts.
        """
        return Content(
            kind=kind,
            group=group,
            total=self.total,
            by_reason=dict(self._reasons),
            by_level=dict(self._levels),
            by_rule=tuple(
                RuleCount(rule, self._titles[rule], count)
                for rule, count in self._rules.most_common(MAX_RULES)
            ),
            alerts=tuple(entry[-1] for entry in sorted(self._listed, reverse=True)),
            step=step,
        )


_PREFIXES: Final = {
    "escalation": "Not acknowledged: ",
    "reminder": "Reminder: ",
    "digest": "Digest: ",
}


def headline(content: Content) -> str:
    """The notification in one line: for the subject of an e-mail, or the first line of a chat."""
    prefix = _PREFIXES.get(content.kind, "")
    if content.kind == "test":
        return "Test notification of AuditFlow"
    if content.total == 1 and content.alerts:
        alert = content.alerts[0]
        entity = ", ".join(filter(None, alert.entity.values()))
        state = "resolved: " if alert.reason == "resolved" else ""
        return f"{prefix}{state}[{alert.level}] {alert.title}" + (f" ({entity})" if entity else "")
    rules = ", ".join(f"{rule.title} ({rule.count})" for rule in content.by_rule[:3])
    more = len(content.by_rule) - 3
    rules += f" and {more} more rules" if more > 0 else ""
    alerts = f"{content.total:,} alert{'' if content.total == 1 else 's'}"
    return f"{prefix}{alerts}" + (f": {rules}" if rules else "")


def line_of(alert: Alert, reason: str) -> AlertLine:
    """One alert as a notification lists it."""
    return AlertLine(
        alert_id=alert.alert_id,
        reason=reason,
        rule=alert.rule.id,
        title=alert.title,
        description=alert.description,
        level=alert.level.value,
        severity=alert.severity.value,
        environment=alert.environment,
        entity=dict(alert.entity),
        actor=alert.actor,
        client_ip=alert.client_ip,
        host=alert.server_hostname,
        resource=alert.resource,
        count=alert.count,
        first_seen=alert.first_seen,
        last_seen=alert.last_seen,
        opened_at=alert.opened_at,
        runbook=alert.rule.runbook,
    )
