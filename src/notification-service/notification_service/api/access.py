"""The caller, users with their roles, and API tokens."""

from functools import partial
from http import HTTPStatus
from typing import Annotated

from msgspec import Meta, Struct
from quart import Blueprint, g, request
from quart_schema import document_querystring, document_request, document_response

from auditflow.contract.access import (
    MAX_NAME,
    IssuedToken,
    Me,
    Role,
    Token,
    TokenList,
    TokenRequest,
    User,
    UserList,
    UserRequest,
)
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from notification_service import query
from notification_service.api import trail_recording
from notification_service.api.callers import Caller, Callers, require
from notification_service.api.requests import body_of, identifier, in_thread
from notification_service.database.access_store import AccessStore


class UserParameters(Struct):
    """The person whose role is set."""

    name: Annotated[
        str, Meta(min_length=1, max_length=MAX_NAME, pattern="^[^\\x00]*$", examples=["alice"])
    ]


def add(routes: Blueprint, store: AccessStore, callers: Callers) -> None:
    """Add the routes."""

    @routes.get("/me")
    @document_response(Me)
    @document_problems(401, 403, 503)
    async def get_me() -> Answer:
        """Show the caller: the name, the role and the scopes."""
        return ok(g.caller.me)

    _add_users(routes, store, callers)
    _add_tokens(routes, store)


def _add_users(routes: Blueprint, store: AccessStore, callers: Callers) -> None:
    @routes.get("/users")
    @document_response(UserList)
    @document_problems(401, 403, 503)
    async def list_users() -> Answer:
        """List all people and their roles."""
        require(g.caller, Role.VIEWER, "alerts:read")
        return ok(UserList(tuple(await in_thread(store.users))))

    @routes.put("/users")
    @document_querystring(UserParameters)
    @document_request(UserRequest)
    @document_response(User)
    @document_problems(400, 401, 403, 404, 503)
    async def put_named_user() -> Answer:
        """Set the role of a person, whose name may contain any printable character.

        A person who is not known yet is added. A disabled person cannot use the API.
        """
        require(g.caller, Role.ADMIN, "admin")
        return await _put(store, callers, query.parse_name(request.args.items(multi=True)))

    @routes.put("/users/<name>")
    @document_request(UserRequest)
    @document_response(User)
    @document_problems(400, 401, 403, 404, 503)
    async def put_user(name: str) -> Answer:
        """Set the role of a person.

        A person who is not known yet is added. A disabled person cannot use the API.
        """
        require(g.caller, Role.ADMIN, "admin")
        return await _put(store, callers, name)


async def _put(store: AccessStore, callers: Callers, name: str) -> Answer:
    body = await body_of(request, UserRequest)
    if name != name.strip() or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        return problem(HTTPStatus.NOT_FOUND, "No person can have this name.")
    trail_recording.add_detail(role=body.role, disabled=str(body.disabled).lower())
    change = partial(store.put_user, name, body.role, disabled=body.disabled)
    user = await in_thread(change)
    callers.forget(name)
    return ok(user)


def _add_tokens(routes: Blueprint, store: AccessStore) -> None:
    @routes.get("/tokens")
    @document_response(TokenList)
    @document_problems(401, 403, 503)
    async def list_tokens() -> Answer:
        """List all API tokens, without their secrets."""
        require(g.caller, Role.LEAD, "admin")
        return ok(TokenList(tuple(await in_thread(store.tokens))))

    @routes.post("/tokens")
    @document_request(TokenRequest)
    @document_response(IssuedToken)
    @document_problems(400, 401, 403, 503)
    async def issue_token() -> Answer:
        """Issue an API token.

        The answer contains the secret, which is not shown again. Only an admin may issue a token
        with the scope admin.
        """
        caller: Caller = g.caller
        require(caller, Role.LEAD, "admin")
        body = await body_of(request, TokenRequest)
        if "admin" in body.scopes:
            require(caller, Role.ADMIN, "admin")
        trail_recording.add_detail(
            name=body.name, scopes=" ".join(body.scopes), days=str(body.expires_in_days)
        )
        issue = partial(
            store.issue_token,
            body.name,
            body.scopes,
            created_by=caller.actor.name,
            days=body.expires_in_days,
        )
        return ok(await in_thread(issue))

    @routes.delete("/tokens/<token_id>")
    @document_response(Token)
    @document_problems(401, 403, 404, 503)
    async def revoke_token(token_id: str) -> Answer:
        """Revoke an API token. It is invalid from then on."""
        require(g.caller, Role.LEAD, "admin")
        parsed = identifier(token_id)
        revoked = await in_thread(partial(store.revoke_token, parsed)) if parsed else None
        if revoked is None:
            return problem(HTTPStatus.NOT_FOUND, "There is no token with this identifier.")
        return ok(revoked)
