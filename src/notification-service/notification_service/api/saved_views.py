"""Saved views of the alert list: private ones, and shared ones."""

from functools import partial
from http import HTTPStatus

from quart import Blueprint, g, request
from quart_schema import document_request, document_response

from auditflow.contract.access import Role
from auditflow.contract.saved_view import SavedView, SavedViewList, SavedViewRequest
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from notification_service.api import trail_recording
from notification_service.api.callers import Caller, Forbidden, require
from notification_service.api.requests import InvalidBody, body_of, identifier, in_thread
from notification_service.database.view_store import TooManyViews, ViewStore


def add(routes: Blueprint, store: ViewStore) -> None:
    """Add the routes."""

    @routes.get("/views")
    @document_response(SavedViewList)
    @document_problems(401, 403, 503)
    async def list_views() -> Answer:
        """List the caller's views and all shared views."""
        caller: Caller = g.caller
        owner = caller.actor.name if caller.actor.kind == "person" else ""
        return ok(SavedViewList(tuple(await in_thread(partial(store.visible, owner)))))

    @routes.post("/views")
    @document_request(SavedViewRequest)
    @document_response(SavedView)
    @document_problems(400, 401, 403, 503)
    async def save_view() -> Answer:
        """Save a view. It replaces the caller's view with the same name.

        Everybody may save private views. A shared view requires the role analyst.
        """
        caller: Caller = g.caller
        body = await body_of(request, SavedViewRequest)
        require(caller, Role.ANALYST if body.shared else Role.VIEWER, "alerts:read")
        if caller.actor.kind != "person":
            raise Forbidden("Only a person can save a view.")
        if body.name != body.name.strip():
            raise InvalidBody.at("name", "must not begin or end with a space")
        trail_recording.add_detail(name=body.name, shared=str(body.shared).lower())
        save = partial(store.put, caller.actor.name, body.name, body.query, shared=body.shared)
        try:
            return ok(await in_thread(save))
        except TooManyViews as error:
            raise InvalidBody(str(error)) from None

    @routes.delete("/views/<view_id>")
    @document_response(SavedView)
    @document_problems(401, 403, 404, 503)
    async def delete_view(view_id: str) -> Answer:
        """Delete a view. A lead may delete the shared views of other people."""
        caller: Caller = g.caller
        require(caller, Role.VIEWER, "alerts:read")
        parsed = identifier(view_id)
        view = await in_thread(partial(store.get, parsed)) if parsed else None
        own = view is not None and caller.actor.kind == "person" and view.owner == caller.actor.name
        if view is None or not (own or view.shared):
            return problem(HTTPStatus.NOT_FOUND, "There is no view with this identifier.")
        if not own:
            require(caller, Role.LEAD, "alerts:write")
        deleted = await in_thread(partial(store.delete, view.view_id))
        return ok(deleted or view)
