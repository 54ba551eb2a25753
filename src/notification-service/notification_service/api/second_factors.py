"""The second factor of a local account. The dashboard acts for its owner."""

from functools import partial
from http import HTTPStatus

from quart import Blueprint, g, request
from quart_schema import document_querystring, document_request, document_response

from auditflow.contract.access import Role
from auditflow.contract.second_factor import (
    SecondFactor,
    SecondFactorRequest,
    UsedRecoveryCode,
    UsedStep,
)
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from notification_service import query
from notification_service.api import trail_recording
from notification_service.api.access import UserParameters
from notification_service.api.callers import Caller, Forbidden, require
from notification_service.api.requests import body_of, in_thread
from notification_service.database.second_factor_store import SecondFactorStore


def add(routes: Blueprint, store: SecondFactorStore) -> None:
    """Add the routes."""

    @routes.get("/second-factor")
    @document_response(SecondFactor)
    @document_problems(401, 403, 503)
    async def get_second_factor() -> Answer:
        """Show the caller's second factor, with the encrypted secret."""
        return ok(await in_thread(partial(store.read, _person(g.caller))))

    @routes.put("/second-factor")
    @document_request(SecondFactorRequest)
    @document_response(SecondFactor)
    @document_problems(400, 401, 403, 409, 503)
    async def enable_second_factor() -> Answer:
        """Enable the caller's second factor. It does not replace one: delete that first."""
        name = _person(g.caller)
        body = await body_of(request, SecondFactorRequest)
        enable = partial(store.enable, name, body.encrypted_secret, body.recovery_hashes)
        return _changed(await in_thread(enable), "The second factor is enabled already.")

    @routes.post("/second-factor/steps")
    @document_request(UsedStep)
    @document_response(SecondFactor)
    @document_problems(400, 401, 403, 409, 503)
    async def use_second_factor_step() -> Answer:
        """Use the time step of a code. A step can be used once, and none before it."""
        name = _person(g.caller)
        body = await body_of(request, UsedStep)
        use = partial(store.use_step, name, body.step)
        return _changed(await in_thread(use), "This code or a later one was used already.")

    @routes.post("/second-factor/recovery-codes")
    @document_request(UsedRecoveryCode)
    @document_response(SecondFactor)
    @document_problems(400, 401, 403, 409, 503)
    async def use_recovery_code() -> Answer:
        """Use a recovery code. It can be used once."""
        name = _person(g.caller)
        body = await body_of(request, UsedRecoveryCode)
        use = partial(store.use_recovery_code, name, body.hash)
        return _changed(await in_thread(use), "There is no unused recovery code like this.")

    @routes.delete("/second-factor")
    @document_querystring(UserParameters)
    @document_response(SecondFactor)
    @document_problems(400, 401, 403, 404, 503)
    async def delete_second_factor() -> Answer:
        """Delete the second factor of a person. An admin may delete that of everybody."""
        caller: Caller = g.caller
        name = query.parse_name(request.args.items(multi=True))
        if caller.actor.kind != "person" or name != caller.actor.name:
            require(caller, Role.ADMIN, "admin")
        deleted = await in_thread(partial(store.delete, name))
        if deleted is None:
            return problem(HTTPStatus.NOT_FOUND, "This person has no second factor.")
        return ok(SecondFactor(enabled=False))


def _person(caller: Caller) -> str:
    if caller.actor.kind != "person":
        raise Forbidden("Only a person has a second factor.")
    trail_recording.add_detail(name=caller.actor.name)
    return caller.actor.name


def _changed(factor: SecondFactor | None, problem_text: str) -> Answer:
    return problem(HTTPStatus.CONFLICT, problem_text) if factor is None else ok(factor)
