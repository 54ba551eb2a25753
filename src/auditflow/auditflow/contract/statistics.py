"""Numbers about alerts over time, by rule, and about the work on them (``/api/v1``)."""

from typing import Annotated

from msgspec import Meta, Struct

from auditflow.contract.event import Timestamp
from auditflow.contract.level import Level


def _doc(description: str) -> Meta:
    return Meta(description=description)


class Opened(Struct, frozen=True):
    """Alerts that were opened in one hour or on one day (UTC), of one level."""

    start: Timestamp
    level: Level
    alerts: int


class RuleActivity(Struct, frozen=True, kw_only=True):
    """What a rule found, and how people judged it. Alerts are counted by the day of opening."""

    rule: Annotated[str, _doc("The identifier of the rule.")]
    title: str
    alerts: Annotated[int, _doc("Alerts opened in the period.")]
    unresolved: int = 0
    true_positive: int = 0
    false_positive: int = 0
    benign: int = 0
    duplicate_of: int = 0
    daily: Annotated[tuple[int, ...], _doc("Alerts by day, the oldest day first.")] = ()
    last_opened_at: Timestamp | None = None


class RuleStatistics(Struct, frozen=True, kw_only=True):
    """The activity of all rules that had alerts in the period."""

    days: int
    first_day: Timestamp
    rules: Annotated[tuple[RuleActivity, ...], _doc("Those with the most alerts first.")]


class RiskyEntity(Struct, frozen=True):
    """An entity and its risk in the last 7 days."""

    value: str
    risk: int


class ResponseTimes(Struct, frozen=True, kw_only=True):
    """How fast people work on alerts that were opened in the last 7 days, in seconds."""

    mean_to_acknowledge: Annotated[
        float | None, _doc("From opening to the first action of a person. Null without any.")
    ]
    acknowledged: Annotated[int, _doc("Number of alerts in the first mean.")]
    mean_to_resolve: float | None
    resolved: Annotated[int, _doc("Number of alerts in the second mean.")]


class Overview(Struct, frozen=True, kw_only=True):
    """The numbers of an overview."""

    hours: Annotated[tuple[Opened, ...], _doc("Alerts opened in the last 24 hours, by hour.")]
    days: Annotated[tuple[Opened, ...], _doc("Alerts opened in the last 14 days, by day.")]
    users: Annotated[tuple[RiskyEntity, ...], _doc("The users with the highest risk.")]
    hosts: tuple[RiskyEntity, ...]
    addresses: tuple[RiskyEntity, ...]
    response_times: ResponseTimes
