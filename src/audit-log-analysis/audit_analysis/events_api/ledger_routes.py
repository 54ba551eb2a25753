"""The routes of the ledger."""

import asyncio
import datetime as dt
from collections.abc import Callable

from quart import Blueprint, request
from quart_schema import document_querystring, document_response

from audit_analysis.events_api import parameters
from audit_analysis.events_api.openapi import LedgerParameters
from audit_analysis.ledger.reading import LedgerReader
from auditflow.contract.ledger_report import LedgerReport, LedgerSenders
from auditflow.http.api import Answer, ok
from auditflow.http.openapi import document_problems


def add(routes: Blueprint, ledger: LedgerReader, now: Callable[[], dt.datetime]) -> None:
    """Add the routes."""

    @routes.get("/ledger")
    @document_querystring(LedgerParameters)
    @document_response(LedgerReport)
    @document_problems(400, 401, 403, 503)
    async def get_ledger() -> Answer:
        """Compare accepted and archived events, by hour and source.

        Without `since` and `until`, the hours of the last day.
        """
        criteria = parameters.parse_ledger(request.args.items(multi=True), now=now())
        report = await asyncio.to_thread(
            ledger.report, since=criteria.since, until=criteria.until, source=criteria.source
        )
        return ok(report)


def add_senders(routes: Blueprint, senders: Callable[[], LedgerSenders]) -> None:
    """Add the route of the hosts that send events."""

    @routes.get("/ledger/senders")
    @document_response(LedgerSenders)
    @document_problems(401, 403, 503)
    async def get_senders() -> Answer:
        """List the hosts that send events: those that are silent for longer than usual first."""
        found = await asyncio.to_thread(senders)
        return ok(found)
