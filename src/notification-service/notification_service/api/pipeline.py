"""The queues of the pipeline, and dead letters: list, show, replay and discard."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

from msgspec import Meta, Struct
from quart import Blueprint, g, request
from quart_schema import document_querystring, document_request, document_response

from auditflow.amqp.dead_letter_queue import Selection
from auditflow.amqp.topology import Queue
from auditflow.contract.access import Role
from auditflow.contract.pipeline import (
    DeadLetterDetail,
    DeadLetterList,
    DeadLetterRequest,
    DeadLetterResult,
    QueueList,
)
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from notification_service import query
from notification_service.alert import MAX_TEXT
from notification_service.api import trail_recording
from notification_service.api.callers import require
from notification_service.api.requests import InvalidBody, body_of, in_thread
from notification_service.dead_letters import QUEUES, Changed, DeadLetters

#: Time for an answer: the time that a request waits for another one, and its own work.
_SECONDS: Final = 20.0


class DeadLetterParameters(Struct):
    """The parameters that select dead letters."""

    reason: (
        Annotated[
            str,
            Meta(
                description="Only those with exactly this reason.",
                max_length=MAX_TEXT,
                pattern="^[^\\x00]*$",
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=query.MAX_LIMIT)] = query.DEFAULT_LIMIT


def add(routes: Blueprint, letters: DeadLetters | None) -> None:
    """Add the routes. Without ``letters``, they answer 404."""

    @routes.get("/queues")
    @document_response(QueueList)
    @document_problems(401, 403, 404, 503)
    async def get_queues() -> Answer:
        """List the work queues.

        With the messages that wait (the lag), the consumers and the number of dead letters.
        """
        if letters is None:
            return _not_offered()
        return ok(QueueList(await in_thread(letters.queues, seconds=4.0, dependency="rabbitmq")))

    @routes.get("/dead-letters/<queue>")
    @document_querystring(DeadLetterParameters)
    @document_response(DeadLetterList)
    @document_problems(400, 401, 403, 404, 503)
    async def list_dead_letters(queue: str) -> Answer:
        """List the oldest dead letters of a queue, with the number of each reason."""
        require(g.caller, Role.ANALYST, "alerts:read")
        reason, limit = query.parse_dead_letters(request.args.items(multi=True))
        known = QUEUES.get(queue)
        if letters is None or known is None:
            return _not_offered() if letters is None else _not_found()
        read = partial(letters.page, known, reason=reason, limit=limit)
        return ok(await in_thread(read, seconds=_SECONDS, dependency="rabbitmq"))

    @routes.get("/dead-letters/<queue>/<key>")
    @document_response(DeadLetterDetail)
    @document_problems(401, 403, 404, 503)
    async def get_dead_letter(queue: str, key: str) -> Answer:
        """Show a dead letter with its headers and its complete body."""
        require(g.caller, Role.ANALYST, "alerts:read")
        known = QUEUES.get(queue)
        if letters is None or known is None:
            return _not_offered() if letters is None else _not_found()
        read = partial(letters.letter, known, key)
        found = await in_thread(read, seconds=_SECONDS, dependency="rabbitmq")
        return ok(found) if found else _not_found()

    _add_changes(routes, letters)


def _add_changes(routes: Blueprint, letters: DeadLetters | None) -> None:
    @routes.post("/dead-letters/<queue>/replay")
    @document_request(DeadLetterRequest)
    @document_response(DeadLetterResult)
    @document_problems(400, 401, 403, 404, 503)
    async def replay_dead_letters(queue: str) -> Answer:
        """Publish dead letters to their queue again.

        Do it after the cause is fixed. A message that is processed twice changes nothing.
        """
        require(g.caller, Role.LEAD, "admin")
        body = await body_of(request, DeadLetterRequest)
        known, selection = QUEUES.get(queue), _selection(body)
        if letters is None or known is None:
            return _not_offered() if letters is None else _not_found()
        return await _change(letters.replay, known, selection, body)

    @routes.post("/dead-letters/<queue>/discard")
    @document_request(DeadLetterRequest)
    @document_response(DeadLetterResult)
    @document_problems(400, 401, 403, 404, 503)
    async def discard_dead_letters(queue: str) -> Answer:
        """Delete dead letters. They cannot be restored.

        The comment, which is required, is stored in the audit trail. They stay counted as
        dead-lettered.
        """
        require(g.caller, Role.ADMIN, "admin")
        body = await body_of(request, DeadLetterRequest)
        known, selection = QUEUES.get(queue), _selection(body)
        if not body.comment.strip():
            raise InvalidBody.at("comment", "must state the reason")
        if letters is None or known is None:
            return _not_offered() if letters is None else _not_found()
        return await _change(letters.discard, known, selection, body)


async def _change(
    change: Callable[[Queue, Selection], Changed],
    queue: Queue,
    selection: Selection,
    body: DeadLetterRequest,
) -> Answer:
    trail_recording.add_detail(
        comment=body.comment,
        selection=f"reason {body.reason}" if body.reason is not None else f"{len(body.keys)} keys",
    )
    changed = await in_thread(
        partial(change, queue, selection), seconds=_SECONDS, dependency="rabbitmq"
    )
    result = changed.result
    trail_recording.add_detail(changed=str(result.replayed), messages=" ".join(changed.message_ids))
    return ok(DeadLetterResult(result.replayed, result.left, not result.interrupted))


def _selection(body: DeadLetterRequest) -> Selection:
    if bool(body.keys) == (body.reason is not None):
        raise InvalidBody("Give either keys or a reason.")
    if body.keys:
        return Selection(keys=frozenset(body.keys))
    return Selection(exact_reason=body.reason)


def _not_offered() -> Answer:
    return problem(
        HTTPStatus.NOT_FOUND,
        "This service has no account to read queues and dead letters (RABBITMQ_OPERATOR_PASS).",
    )


def _not_found() -> Answer:
    return problem(
        HTTPStatus.NOT_FOUND,
        "There is no such queue or dead letter. It may have been replayed or discarded.",
    )
