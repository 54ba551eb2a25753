"""The ASGI application that accepts events.

It checks the token from the headers before it reads the body, and it limits the memory of all
bodies together. Requests for other addresses go to the inner application.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.ingest import batch, native
from audit_event_generator.ingest.encoding import EncodedEvent, encode
from audit_event_generator.ingest.sources import API, SOURCES, Source
from audit_event_generator.metrics import Metrics
from audit_event_generator.token_registry import TokenRegistry
from audit_event_generator.tokens import TokenSource
from audit_event_generator.web import body, problems, webhooks
from audit_event_generator.web.authentication import authenticate, permit
from audit_event_generator.web.outcome import RequestOutcome, new_outcome
from audit_event_generator.web.problems import Response, respond
from auditflow.contract import bounds
from auditflow.errors import ContractError, Unavailable
from auditflow.http.memory import MemoryBudget, Reservation
from auditflow.http.middleware import AsgiApp, correlation_id, set_route
from auditflow.http.problem import Problem
from auditflow.http.serving import MAX_BODY_BYTES

#: A larger body is converted on a thread, so that other requests do not wait for it, in bytes.
_INLINE_BYTES: Final = 64 * 1024
#: Maximum number of large bodies that are converted at the same time. It bounds the memory.
_MAX_CONVERSIONS: Final = 2
#: Maximum size of all bodies of requests with a valid token, in bytes.
MAX_BODIES: Final = 64 * 1024 * 1024
#: Maximum size of all bodies that must be read before their signature can be checked, in bytes.
MAX_UNVERIFIED_BODIES: Final = 16 * 1024 * 1024
#: The source of deliveries that GitHub signed.
_GITHUB_WEBHOOK: Final = TokenSource(name="github-webhook", routes=frozenset({"github"}))
_PATHS: Final = {"/generate_event": API, **{f"/ingest/{name}": name for name in SOURCES}}


class _Request(Struct, frozen=True, gc=False):
    """One request for a route."""

    scope: Any
    incoming: body.Incoming
    headers: Mapping[str, str]
    route: str


class IngestApp:
    """Handles the ingest routes."""

    def __init__(
        self,
        inner: AsgiApp,
        *,
        event_publisher: EventPublisher,
        metrics: Metrics,
        tokens: TokenRegistry,
        github_secret: str | None,
    ) -> None:
        self._inner = inner
        self._event_publisher = event_publisher
        self._metrics = metrics
        self._tokens = tokens
        self._github_secret = github_secret
        self._bodies = MemoryBudget(MAX_BODIES)
        self._unverified_bodies = MemoryBudget(MAX_UNVERIFIED_BODIES)
        self._conversions = asyncio.Semaphore(_MAX_CONVERSIONS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        route = _PATHS.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._inner(scope, receive, send)
            return
        set_route(scope, scope["path"])
        incoming = body.Incoming(receive)
        request = _Request(scope, incoming, _headers(scope), route)
        try:
            response = await self._handle(request)
        except body.ClientDisconnected:
            return
        except Exception as error:  # noqa: BLE001 - logged; the client gets no details
            response = problems.unexpected(error)
        if response.status >= 400:
            await body.discard(incoming)
        await _send(send, response)

    async def _handle(self, request: _Request) -> Response:
        is_challenge = request.route == "okta" and request.scope["method"] == "GET"
        if request.scope["method"] != "POST" and not is_challenge:
            methods = ("GET", "POST") if request.route == "okta" else ("POST",)
            return problems.method_not_allowed(*methods)
        if (
            self._github_secret is not None
            and request.route == "github"
            and webhooks.requires_signature(request.headers)
        ):
            return await self._signed_delivery(request, self._github_secret)
        source = authenticate(request.headers, self._tokens)
        if isinstance(source, Response):
            return source
        refusal = permit(source, request.route)
        if refusal is not None:
            return refusal
        if is_challenge:
            return webhooks.okta_challenge(request.headers)
        outcome = new_outcome(request.scope, request.route)
        with Reservation(self._bodies) as reservation:
            limit = min(source.max_request_bytes or MAX_BODY_BYTES, MAX_BODY_BYTES)
            try:
                document = await self._read(request, reservation, limit)
            except body.BodyError as error:
                return _body_problem(error)
            return await self._accept(request, source, outcome, document)

    async def _signed_delivery(self, request: _Request, secret: str) -> Response:
        if not webhooks.has_signature(request.headers):
            return webhooks.wrong_signature()
        with Reservation(self._unverified_bodies) as reservation:
            try:
                document = await self._read(request, reservation, MAX_BODY_BYTES)
            except body.BodyError as error:
                return _body_problem(error)
            if not webhooks.is_signed(request.headers, document, secret):
                return webhooks.wrong_signature()
            outcome = new_outcome(request.scope, request.route)
            return await self._accept(request, _GITHUB_WEBHOOK, outcome, document)

    async def _read(self, request: _Request, reservation: Reservation, limit: int) -> bytes:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        return await body.read(request.incoming, encoding, reservation, limit=limit)

    async def _accept(
        self, request: _Request, source: TokenSource, outcome: RequestOutcome, document: bytes
    ) -> Response:
        outcome.token_source = source.name
        try:
            if request.route == API:
                return await self._single_event(request, source, outcome, document)
            kind = SOURCES[request.route]
            if request.route == "github" and webhooks.is_delivery(request.headers):
                return await self._delivery(request, source, outcome, document)
            return await self._records(request, source, kind, outcome, document)
        except Unavailable as error:
            outcome.failed = str(error)
            return problems.unavailable()

    async def _single_event(
        self, request: _Request, source: TokenSource, outcome: RequestOutcome, document: bytes
    ) -> Response:
        if len(document) > bounds.MAX_DOCUMENT_BYTES:
            self._count_refused(outcome)
            detail = f"{len(document)} bytes are more than the {bounds.MAX_DOCUMENT_BYTES} allowed"
            return respond(Problem(413, "Content Too Large", detail))
        try:
            encoded = encode(source.restrict(API, native.request_to_event)(document))
        except ContractError as error:
            self._count_refused(outcome)
            return problems.contract(error)
        return await self._accept_one(request, source, outcome, encoded)

    async def _delivery(
        self, request: _Request, source: TokenSource, outcome: RequestOutcome, document: bytes
    ) -> Response:
        try:
            headers = webhooks.delivery_headers(request.headers)
            to_event = source.restrict(request.route, partial(webhooks.to_event, headers))
            encoded = batch.convert_record(document, to_event)
        except ContractError as error:
            refused = batch.RefusedRecord("$", str(error), document)
            await self._publish(request, outcome, [], [refused])
            return problems.contract(error)
        return await self._accept_one(request, source, outcome, encoded)

    async def _accept_one(
        self, request: _Request, source: TokenSource, outcome: RequestOutcome, encoded: EncodedEvent
    ) -> Response:
        limited = self._limit_rate(source, 1)
        if limited is not None:
            return limited
        await self._publish(request, outcome, [encoded])
        return problems.accepted({"status": "success", "event_id": encoded.event_id})

    async def _records(
        self,
        request: _Request,
        source: TokenSource,
        kind: Source,
        outcome: RequestOutcome,
        document: bytes,
    ) -> Response:
        to_event = source.restrict(kind.name, kind.to_event)
        try:
            converted = await self._convert(kind, to_event, document)
        except batch.TooManyRecords as error:
            return respond(Problem(413, "Content Too Large", str(error)))
        except ContractError as error:
            return problems.contract(error)
        limited = self._limit_rate(source, converted.total)
        if limited is not None:
            return limited
        await self._publish(request, outcome, converted.events, converted.refused)
        refused = len(converted.refused)
        if refused and not converted.events:
            detail = f"no record is valid: {refused} of {refused} are refused"
            errors = tuple(converted.faults)
            return respond(Problem(422, "Unprocessable Content", detail, errors))
        return problems.accepted(
            {"accepted": len(converted.events), "refused": refused, "errors": converted.faults}
        )

    async def _convert(self, kind: Source, to_event: batch.Adapter, document: bytes) -> batch.Batch:
        if len(document) <= _INLINE_BYTES:
            return batch.convert(kind.split(document), to_event)
        async with self._conversions:
            return await asyncio.to_thread(lambda: batch.convert(kind.split(document), to_event))

    def _limit_rate(self, source: TokenSource, records: int) -> Response | None:
        if source.rate is None or not records:
            return None
        if records > source.rate.amount:
            detail = (
                f"The token of the source {source.name} permits {source.rate}."
                f" Send the {records} records in several requests."
            )
            return respond(Problem(413, "Content Too Large", detail))
        seconds = self._tokens.seconds_until_permitted(source, records)
        if not seconds:
            return None
        detail = f"The token of the source {source.name} permits {source.rate}."
        problem = Problem(429, "Too Many Requests", detail)
        return respond(problem, **{"Retry-After": str(math.ceil(seconds))})

    async def _publish(
        self,
        request: _Request,
        outcome: RequestOutcome,
        events: Sequence[EncodedEvent],
        refused: Sequence[batch.RefusedRecord] = (),
    ) -> None:
        await self._event_publisher.publish_async(
            outcome.source,
            events,
            refused=refused,
            correlation_id=correlation_id(request.scope),
        )
        outcome.accepted = len(events)
        outcome.refused = len(refused)

    def _count_refused(self, outcome: RequestOutcome) -> None:
        outcome.refused = 1
        self._metrics.refused.labels(outcome.source).inc()


def _body_problem(error: body.BodyError) -> Response:
    headers = {"Retry-After": "1"} if error.problem.status == 503 else {}
    return respond(error.problem, **headers)


def _headers(scope: Any) -> dict[str, str]:
    """Return the headers by lower-case name. The last one of several counts."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


async def _send(send: Any, response: Response) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in response.headers),
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})
