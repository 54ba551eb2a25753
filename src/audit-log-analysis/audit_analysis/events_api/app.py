"""The HTTP interface of the archive process: probes, metrics, and the API of archived events."""

import datetime as dt
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry
from quart import Blueprint, Quart, g, request
from quart_schema import hide

from audit_analysis.events_api import errors, hunt_routes, ledger_routes, proof_routes, routes
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.callers import HEADERS, Callers, require
from audit_analysis.events_api.openapi import DOCUMENTATION
from audit_analysis.events_api.proofs import EventProofs
from audit_analysis.events_api.trail import Recorder, Trail
from audit_analysis.hunt.runner import HuntRunner
from audit_analysis.ledger.reading import LedgerReader
from auditflow.contract.access import Role
from auditflow.contract.ledger_report import LedgerSenders
from auditflow.http import middleware, openapi, probes
from auditflow.http.api import MAX_BODY_BYTES, PREFIX, add_security_headers
from auditflow.http.health import Health
from auditflow.telemetry.metrics import HttpMetrics

SERVICE: Final = "audit-event-archive"


def create(
    searches: ArchiveSearch,
    callers: Callers,
    health: Health,
    registry: CollectorRegistry,
    *,
    ledger: LedgerReader | None = None,
    senders: Callable[[], LedgerSenders] | None = None,
    hunts: HuntRunner | None = None,
    proofs: EventProofs | None = None,
    trail: Trail | None = None,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Quart:
    """Create the application. Without an optional part, it does not have its routes.

    Without ``trail``, searches are recorded in the log only.
    """
    app = Quart(SERVICE, static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    middleware.instrument(app, HttpMetrics(registry), request=request)
    openapi.add(app, DOCUMENTATION)
    errors.add(app)
    probes.add_routes(app, health, registry, service=SERVICE, request=request)
    for name in ("healthz", "readyz", "metrics"):
        hide(app.view_functions[f"operations.{name}"])
    events = Blueprint("events", __name__)

    @events.before_request
    async def authenticate() -> None:
        given = {name: request.headers[name] for name in HEADERS if name in request.headers}
        g.caller = await callers.authenticate(given)
        require(g.caller, Role.VIEWER, "alerts:read")

    Recorder(trail).add(events)
    routes.add(events, searches, now)
    if ledger is not None:
        ledger_routes.add(events, ledger, now)
    if senders is not None:
        ledger_routes.add_senders(events, senders)
    if hunts is not None:
        hunt_routes.add(events, hunts, now)
    if proofs is not None:
        proof_routes.add(events, proofs)
    app.register_blueprint(events, url_prefix=PREFIX)

    add_security_headers(app)
    return app
