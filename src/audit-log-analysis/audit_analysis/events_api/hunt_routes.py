"""The routes of hunts."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from quart import Blueprint, Response, g, request
from quart_schema import document_request, document_response

from audit_analysis.events_api import trail
from audit_analysis.events_api.callers import require
from audit_analysis.events_api.openapi import HuntFindings
from audit_analysis.hunt.runner import HuntRunner
from auditflow.contract.access import Role
from auditflow.contract.event import EARLIEST
from auditflow.contract.hunts import Hunt, HuntList, HuntRequest
from auditflow.http.api import Answer, ok, problem
from auditflow.http.body_faults import fault_of
from auditflow.http.openapi import document_problems
from auditflow.http.problem import Fault
from auditflow.http.query_parameters import InvalidParameters

_PART_BYTES: Final = 256 * 1024
_UNKNOWN: Final = "There is no hunt with this identifier."

_decode_request = msgspec.json.Decoder(HuntRequest).decode


def add(routes: Blueprint, hunts: HuntRunner, now: Callable[[], dt.datetime]) -> None:
    """Add the routes. Everybody who may search may read hunts; a lead may start and cancel them."""
    _add_changes(routes, hunts, now)
    _add_reads(routes, hunts)


def _add_changes(routes: Blueprint, hunts: HuntRunner, now: Callable[[], dt.datetime]) -> None:
    @routes.post("/hunts")
    @document_request(HuntRequest)
    @document_response(Hunt, 202)
    @document_problems(400, 401, 403, 503)
    async def start_hunt() -> Answer:
        """Start a hunt: what would a rule have found in archived events?

        Requires the role lead. The findings have the identifiers that live detection gives them.
        With `publish`, they become alerts; a finding that exists already changes nothing.
        """
        require(g.caller, Role.LEAD, "alerts:write")
        hunt_request = _read(await request.get_data(), now())
        trail.add_facts(
            rule=hunt_request.rule or hunt_request.rules,
            since=hunt_request.since.isoformat(),
            until=(hunt_request.until or now()).isoformat(),
            publish=hunt_request.publish,
        )
        await g.recorder.record_now()
        hunt = await asyncio.to_thread(hunts.submit, hunt_request, caller=g.caller.name)
        return ok(hunt, status=202)

    @routes.post("/hunts/<uuid:hunt_id>/cancel")
    @document_response(Hunt)
    @document_problems(401, 403, 404, 503)
    async def cancel_hunt(hunt_id: UUID) -> Answer:
        """Cancel a hunt. Findings that were published stay published. Requires the role lead."""
        require(g.caller, Role.LEAD, "alerts:write")
        await g.recorder.record_now()
        hunt = await asyncio.to_thread(hunts.cancel, hunt_id)
        if hunt is None:
            return problem(404, _UNKNOWN)
        return ok(hunt)


def _add_reads(routes: Blueprint, hunts: HuntRunner) -> None:
    @routes.get("/hunts")
    @document_response(HuntList)
    @document_problems(401, 403, 503)
    async def list_hunts() -> Answer:
        """List the hunts, the newest first. The last 50 are kept after their end."""
        found = await asyncio.to_thread(hunts.all)
        return ok(HuntList(tuple(found)))

    @routes.get("/hunts/<uuid:hunt_id>")
    @document_response(Hunt)
    @document_problems(401, 403, 404, 503)
    async def get_hunt(hunt_id: UUID) -> Answer:
        """Show a hunt and its progress."""
        hunt = await asyncio.to_thread(hunts.get, hunt_id)
        if hunt is None:
            return problem(404, _UNKNOWN)
        return ok(hunt)

    @routes.get("/hunts/<uuid:hunt_id>/findings")
    @document_response(HuntFindings)
    @document_problems(401, 403, 404, 409, 503)
    async def get_hunt_findings(hunt_id: UUID) -> Any:
        """The findings of a completed hunt, ordered by time, as NDJSON. Requires the role analyst.

        Findings contain complete events.
        """
        require(g.caller, Role.ANALYST, "alerts:read")
        hunt = await asyncio.to_thread(hunts.get, hunt_id)
        if hunt is None:
            return problem(404, _UNKNOWN)
        path = hunts.findings(hunt_id)
        if path is None or not hunt.state.is_final:
            return problem(409, f"The hunt has no findings: it is {hunt.state.value}.")
        trail.add_facts(rule=hunt.rule, results=hunt.findings)
        await g.recorder.record_now()
        response = Response(_parts(path), content_type="application/x-ndjson")
        response.timeout = None
        return response


async def _parts(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while part := await asyncio.to_thread(file.read, _PART_BYTES):
            yield part


def _read(body: str | bytes, now: dt.datetime) -> HuntRequest:
    """The request. Raises InvalidParameters."""
    try:
        hunt_request = _decode_request(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidParameters([fault_of(error, HuntRequest)]) from None
    faults = []
    if (hunt_request.rule is None) == (hunt_request.rules is None):
        faults.append(Fault("rule", "give either rule or rules"))
    if hunt_request.since < EARLIEST:
        faults.append(Fault("since", "must not be before 1970"))
    if hunt_request.since >= (hunt_request.until or now):
        faults.append(Fault("since", "must be before until"))
    if hunt_request.until is not None and hunt_request.until.year >= 9000:
        faults.append(Fault("until", "must be before the year 9000"))
    if faults:
        raise InvalidParameters(faults)
    return hunt_request
