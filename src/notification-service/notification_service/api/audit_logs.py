"""The audit logs: checkpoints and tiles as in c2sp.org/tlog-tiles, entries and proofs."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct
from quart import Blueprint, g, request
from quart_schema import document_querystring, document_response

from auditflow.contract.access import Role
from auditflow.contract.audit import (
    AuditLogList,
    ConsistencyProof,
    FindingDocuments,
    InclusionProof,
)
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from auditflow.merkle import tiles
from notification_service import query
from notification_service.api.callers import require
from notification_service.api.examples import AuditTile, SignedCheckpoint
from notification_service.api.requests import in_thread
from notification_service.audit.logs import LOGS
from notification_service.audit.reading import AuditLogReader

_MAX_NUMBER: Final = 10**15
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}
_BYTES: Final = {"Content-Type": "application/octet-stream"}

TreeSize = Annotated[int, Meta(description="A number of entries.", ge=1, le=_MAX_NUMBER)]


class InclusionParameters(Struct):
    """The parameters of an inclusion proof."""

    size: Annotated[
        TreeSize | None, Meta(description="The size of the tree; by default the newest one.")
    ] = None


class DocumentsParameters(Struct):
    """The parameters of the list of findings."""

    after: Annotated[UUID | None, Meta(description="The next_after of the previous page.")] = None


class ConsistencyParameters(Struct):
    """The parameters of a consistency proof."""

    old_size: Annotated[TreeSize, Meta(description="The size of the old tree.", examples=[1])]
    size: Annotated[
        TreeSize | None, Meta(description="The size of the new tree; by default the newest one.")
    ] = None


def add(routes: Blueprint, reader: AuditLogReader | None) -> None:
    """Add the routes. Without a reader there are no logs."""

    @routes.get("/audit/logs")
    @document_response(AuditLogList)
    @document_problems(401, 403, 503)
    async def list_audit_logs() -> Answer:
        """List the audit logs.

        With the public key that signs their checkpoints.
        """
        require_auditor()
        return ok(AuditLogList(await in_thread(reader.summaries) if reader else ()))

    @routes.get("/audit/<log>/checkpoint")
    @document_response(SignedCheckpoint)
    @document_problems(401, 403, 404, 503)
    async def get_audit_checkpoint(log: str) -> Answer:
        """Show the newest checkpoint of an audit log: its size and its root, signed."""
        require_auditor()
        audited = LOGS.get(log)
        if reader is None or audited is None:
            return _not_found()
        note = await in_thread(partial(reader.checkpoint, audited))
        if note is None:
            return _not_found()
        return note.encode(), HTTPStatus.OK, _TEXT

    @routes.get("/audit/<string:log>/tile/<path:tile>")
    @document_response(AuditTile)
    @document_problems(401, 403, 404, 503)
    async def get_audit_tile(log: str, tile: str) -> Answer:
        """Read a tile of hashes, or a bundle of entries.

        Paths are those of c2sp.org/tlog-tiles: `0/x001/067.p/8`, `entries/000`.
        """
        require_auditor()
        path, audited = tiles.parse_path(tile), LOGS.get(log)
        if reader is None or audited is None or path is None:
            return _not_found()
        data = await in_thread(partial(reader.tile, audited, path))
        if data is None:
            return _not_found()
        return data, HTTPStatus.OK, _BYTES

    _add_proofs(routes, reader)
    _add_documents(routes, reader)


def _add_documents(routes: Blueprint, reader: AuditLogReader | None) -> None:
    @routes.get("/audit/findings/documents")
    @document_querystring(DocumentsParameters)
    @document_response(FindingDocuments)
    @document_problems(400, 401, 403, 404, 503)
    async def list_finding_documents() -> Answer:
        """List all stored findings, to compare them with the audit log `findings`."""
        require_auditor()
        after = query.parse_after_identifier(request.args.items(multi=True))
        if reader is None:
            return _not_found()
        return ok(await in_thread(partial(reader.documents, after)))


def _add_proofs(routes: Blueprint, reader: AuditLogReader | None) -> None:
    @routes.get("/audit/<string:log>/entries/<int:number>")
    @document_querystring(InclusionParameters)
    @document_response(InclusionProof)
    @document_problems(400, 401, 403, 404, 503)
    async def get_audit_entry(log: str, number: int) -> Answer:
        """Show an entry, and the proof that the tree contains it."""
        require_auditor()
        sizes = query.parse_numbers(request.args.items(multi=True), "size", largest=_MAX_NUMBER)
        audited = LOGS.get(log)
        if reader is None or audited is None or number > _MAX_NUMBER:
            return _not_found()
        proof = await in_thread(partial(reader.inclusion, audited, number, sizes.get("size")))
        return _not_found() if proof is None else ok(proof)

    @routes.get("/audit/<log>/consistency")
    @document_querystring(ConsistencyParameters)
    @document_response(ConsistencyProof)
    @document_problems(400, 401, 403, 404, 503)
    async def get_audit_consistency(log: str) -> Answer:
        """Show the proof that an old tree is the beginning of a new tree."""
        require_auditor()
        sizes = query.parse_numbers(
            request.args.items(multi=True),
            "size",
            "old_size",
            largest=_MAX_NUMBER,
            required=("old_size",),
        )
        audited = LOGS.get(log)
        if reader is None or audited is None:
            return _not_found()
        proof = await in_thread(
            partial(reader.consistency, audited, sizes["old_size"], sizes.get("size"))
        )
        return _not_found() if proof is None else ok(proof)


def require_auditor() -> None:
    """Check that the caller may read what people and tokens did. Raises Forbidden."""
    require(g.caller, Role.LEAD, "audit:read")


def _not_found() -> Answer:
    return problem(
        HTTPStatus.NOT_FOUND, "The audit logs do not contain this. See /api/v1/audit/logs."
    )
