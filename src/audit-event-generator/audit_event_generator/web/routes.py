"""The routes that accept events."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from flask import Blueprint, request

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.ingest import batch, native
from audit_event_generator.ingest.encoding import EncodedEvent, encode
from audit_event_generator.ingest.sources import API, SOURCES, Source
from audit_event_generator.metrics import Metrics
from audit_event_generator.web import body, problems, webhooks
from audit_event_generator.web.authentication import TokenCheck
from audit_event_generator.web.outcome import Outcome, new_outcome
from auditflow.contract import bounds
from auditflow.errors import ContractError, Unavailable
from auditflow.http.middleware import correlation_id
from auditflow.http.problem import Problem

Answer = tuple[bytes, int, dict[str, str]]
_JSON = {"Content-Type": "application/json"}


def blueprint(
    event_publisher: EventPublisher,
    metrics: Metrics,
    token_check: TokenCheck,
    github_secret: str | None,
) -> Blueprint:
    """Return the routes. Each request needs the token or a signature of GitHub."""
    routes = Blueprint("ingest", __name__)
    ingest = _Ingest(event_publisher, metrics)

    @routes.before_request
    def authenticate() -> Answer | None:
        if github_secret and webhooks.requires_signature(request):
            return webhooks.refuse(request, github_secret)
        return token_check.refuse(request)

    @routes.post("/generate_event")
    def generate_event() -> Answer:
        return ingest.single_event()

    @routes.get("/ingest/okta")
    def okta_challenge() -> Answer:
        return webhooks.okta_challenge(request)

    def add_route(source: Source) -> None:
        routes.add_url_rule(
            f"/ingest/{source.name}",
            source.name,
            lambda: ingest.records(source),
            methods=["POST"],
        )

    for source in SOURCES.values():
        add_route(source)
    return routes


class _Ingest:
    """The common steps of the routes: read, convert, publish, answer."""

    def __init__(self, event_publisher: EventPublisher, metrics: Metrics) -> None:
        self._event_publisher = event_publisher
        self._metrics = metrics

    def single_event(self) -> Answer:
        """Accept one event in AuditFlow's own shape."""
        outcome = new_outcome(request.environ, API)
        document = body.read(request)
        if len(document) > bounds.MAX_DOCUMENT_BYTES:
            self._count_refused(outcome)
            detail = f"{len(document)} bytes are more than the {bounds.MAX_DOCUMENT_BYTES} allowed"
            return Problem(413, "Content Too Large", detail).response()
        try:
            encoded = encode(native.request_to_event(document))
        except ContractError as error:
            self._count_refused(outcome)
            return problems.contract(error).response()
        return self._accept_one(outcome, encoded)

    def records(self, source: Source) -> Answer:
        """Accept the records of a source."""
        if source is SOURCES["github"] and webhooks.is_delivery(request):
            return self._webhook_delivery(source)
        outcome = new_outcome(request.environ, source.name)
        document = body.read(request)
        try:
            converted = batch.convert(source.split(document), source.to_event)
        except batch.TooManyRecords as error:
            return Problem(413, "Content Too Large", str(error)).response()
        except ContractError as error:
            return problems.contract(error).response()
        self._publish(outcome, converted.events, converted.refused)
        refused = len(converted.refused)
        if refused and not converted.events:
            detail = f"no record is valid: {refused} of {refused} are refused"
            errors = tuple(converted.faults)
            return Problem(422, "Unprocessable Content", detail, errors).response()
        return _accepted(
            {"accepted": len(converted.events), "refused": refused, "errors": converted.faults}
        )

    def _webhook_delivery(self, source: Source) -> Answer:
        outcome = new_outcome(request.environ, source.name)
        document = body.read(request)
        try:
            headers = webhooks.delivery_headers(request)
            encoded = batch.convert_record(document, partial(webhooks.to_event, headers))
        except ContractError as error:
            self._publish(outcome, [], [batch.RefusedRecord("$", str(error), document)])
            return problems.contract(error).response()
        return self._accept_one(outcome, encoded)

    def _accept_one(self, outcome: Outcome, encoded: EncodedEvent) -> Answer:
        self._publish(outcome, [encoded])
        return _accepted({"status": "success", "event_id": encoded.event_id})

    def _publish(
        self,
        outcome: Outcome,
        events: list[EncodedEvent],
        refused: Sequence[batch.RefusedRecord] = (),
    ) -> None:
        try:
            self._event_publisher.publish(
                outcome.source,
                events,
                refused=refused,
                correlation_id=correlation_id(request.environ),
            )
        except Unavailable as error:
            outcome.failed = str(error)
            raise
        outcome.accepted = len(events)
        outcome.refused = len(refused)

    def _count_refused(self, outcome: Outcome) -> None:
        outcome.refused = 1
        self._metrics.refused.labels(outcome.source).inc()


def _accepted(content: dict[str, Any]) -> Answer:
    return msgspec.json.encode(content), 202, _JSON
