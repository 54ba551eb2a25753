"""The routes of proofs: that an event is archived, and the hashes of archived files."""

import asyncio
from functools import partial
from typing import Annotated, Final

from msgspec import Meta, Struct
from quart import Blueprint, g, request
from quart_schema import document_querystring, document_response

from audit_analysis.events_api import running
from audit_analysis.events_api.callers import require
from audit_analysis.events_api.openapi import EventParameters
from audit_analysis.events_api.proofs import EventProofs, NotProvable
from auditflow.contract.access import Role
from auditflow.contract.audit import ArchivedEventProof, ArchivedFileHashes
from auditflow.http import query_parameters
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems

_MAX_PATH: Final = 200


class FilesParameters(Struct):
    """The parameter of the list of files."""

    after: (
        Annotated[str, Meta(description="The next_after of the previous page.", max_length=200)]
        | None
    ) = None


def add(routes: Blueprint, proofs: EventProofs) -> None:
    """Add the routes."""

    @routes.get("/events/proof")
    @document_querystring(EventParameters)
    @document_response(ArchivedEventProof)
    @document_problems(400, 401, 403, 404, 409, 503)
    async def get_event_proof() -> Answer:
        """Prove that an event is archived.

        The proof leads to the root of the events of its file. The entry `log_number` of the audit
        log `files` has this root; the notification service proves the entry.
        """
        read = {"event_id": query_parameters.text(256)}
        given = query_parameters.parse(request.args.items(multi=True), read, required=read)
        try:
            found = await running.run(partial(proofs.proof, given["event_id"]))
        except NotProvable as error:
            return problem(409, str(error))
        if found is None:
            return problem(404, "The archive has no event with this identifier.")
        return ok(found)

    @routes.get("/archive/files")
    @document_querystring(FilesParameters)
    @document_response(ArchivedFileHashes)
    @document_problems(400, 401, 403, 503)
    async def list_archived_files() -> Answer:
        """List the files of the archive with the hashes of their content, which are computed now.

        To compare them with the audit log `files`.
        """
        require(g.caller, Role.LEAD, "audit:read")
        given = query_parameters.parse(
            request.args.items(multi=True), {"after": query_parameters.text(_MAX_PATH)}
        )
        found = await asyncio.to_thread(proofs.hashes, given.get("after", ""))
        return ok(found)
