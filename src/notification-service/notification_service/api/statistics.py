"""Numbers for an overview, and the activity of rules."""

import datetime as dt
from functools import partial
from typing import Annotated, Final

from msgspec import Meta, Struct
from quart import Blueprint, request
from quart_schema import document_querystring, document_response

from auditflow.contract.statistics import Overview, RuleStatistics
from auditflow.http import query_parameters
from auditflow.http.api import Answer, ok
from auditflow.http.openapi import document_problems
from notification_service.api.requests import in_thread
from notification_service.database import statistics
from notification_service.database.pool import Pool

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 90
#: These queries read many alerts.
_SECONDS: Final = 10.0


class PeriodParameters(Struct):
    """The period of statistics."""

    days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS


def add(routes: Blueprint, pool: Pool) -> None:
    """Add the routes."""

    @routes.get("/overview")
    @document_response(Overview)
    @document_problems(401, 503)
    async def get_overview() -> Answer:
        """Show alerts by hour and day, the entities with the highest risk, and response times."""
        now = dt.datetime.now(dt.UTC)
        read = partial(statistics.read_overview, pool, now=now)
        return ok(await in_thread(read, seconds=_SECONDS))

    @routes.get("/rules/statistics")
    @document_querystring(PeriodParameters)
    @document_response(RuleStatistics)
    @document_problems(400, 401, 503)
    async def get_rule_statistics() -> Answer:
        """Show how many alerts each rule opened, by day, and the verdicts on them."""
        days = _days()
        read = partial(statistics.read_rules, pool, days=days, now=dt.datetime.now(dt.UTC))
        return ok(await in_thread(read, seconds=_SECONDS))


def _days() -> int:
    readers = {"days": query_parameters.integer(1, MAX_DAYS)}
    values = query_parameters.parse(request.args.items(multi=True), readers)
    return int(values.get("days", DEFAULT_DAYS))
