"""The four addresses where events come in."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from flask import Blueprint, request

from audit_event_generator.delivery import Delivery
from audit_event_generator.ingest import batch, cloudtrail, kubernetes, native, ndjson
from audit_event_generator.ingest.sealing import seal
from audit_event_generator.metrics import Metrics, Source
from audit_event_generator.web import body, problems
from audit_event_generator.web.guard import Guard
from audit_event_generator.web.observe import CORRELATION_ID, OUTCOME, Outcome
from auditflow import bounds
from auditflow.errors import ContractError, Unavailable
from auditflow.problem import Problem

Answer = tuple[bytes, int, dict[str, str]]
#: Cuts a body into records, each with the place where it stands.
Opener = Callable[[bytes], Iterator[tuple[str, bytes]]]

_JSON = {"Content-Type": "application/json"}


def blueprint(delivery: Delivery, metrics: Metrics, guard: Guard) -> Blueprint:
    """The routes, all behind the token."""
    routes = Blueprint("ingest", __name__)
    ingest = _Ingest(delivery, metrics)

    @routes.before_request
    def check_token() -> Answer | None:
        return guard.refuse(request)

    @routes.post("/generate_event")
    def generate_event() -> Answer:
        return ingest.one("api")

    def add(path: str, source: Source, opener: Opener, adapt: batch.Adapter) -> None:
        routes.add_url_rule(
            path, source, lambda: ingest.many(source, opener, adapt), methods=["POST"]
        )

    add("/ingest/ndjson", "ndjson", ndjson.lines, native.of_line)
    add("/ingest/kubernetes", "kubernetes", kubernetes.records, kubernetes.event_of)
    add("/ingest/cloudtrail", "cloudtrail", cloudtrail.records, cloudtrail.event_of)
    return routes


class _Ingest:
    """What the routes have in common: read, adapt, deliver, answer."""

    def __init__(self, delivery: Delivery, metrics: Metrics) -> None:
        self._delivery = delivery
        self._metrics = metrics

    def one(self, source: Source) -> Answer:
        """A single event in our own shape."""
        outcome = _outcome(source)
        document = body.read(request)
        if len(document) > bounds.MAX_DOCUMENT_BYTES:
            self._refuse(outcome, 1)
            detail = f"{len(document)} bytes are more than the {bounds.MAX_DOCUMENT_BYTES} allowed"
            return Problem(413, "Content Too Large", detail).response()
        try:
            sealed = seal(native.of_request(document))
        except ContractError as error:
            self._refuse(outcome, 1)
            return problems.contract(error).response()
        self._deliver(outcome, [sealed])
        return _accepted({"status": "success", "event_id": sealed.event_id})

    def many(self, source: Source, opener: Opener, adapt: batch.Adapter) -> Answer:
        """Records of which each stands for itself."""
        outcome = _outcome(source)
        document = body.read(request)
        try:
            taken = batch.take(opener(document), adapt)
        except batch.TooMany as error:
            return Problem(413, "Content Too Large", str(error)).response()
        except ContractError as error:
            return problems.contract(error).response()
        self._deliver(outcome, taken.sealed)
        self._refuse(outcome, taken.refused)
        if taken.refused and not taken.sealed:
            detail = f"no record fits: {taken.refused} of {taken.refused} are refused"
            errors = tuple(taken.faults)
            return Problem(422, "Unprocessable Content", detail, errors).response()
        return _accepted(
            {"accepted": len(taken.sealed), "refused": taken.refused, "errors": taken.faults}
        )

    def _deliver(self, outcome: Outcome, sealed: list[Any]) -> None:
        try:
            self._delivery.deliver(
                outcome.source, sealed, correlation_id=request.environ[CORRELATION_ID]
            )
        except Unavailable as error:
            outcome.failed = str(error)
            raise
        outcome.accepted = len(sealed)

    def _refuse(self, outcome: Outcome, count: int) -> None:
        outcome.refused = count
        self._metrics.refused.labels(outcome.source).inc(count)


def _outcome(source: Source) -> Outcome:
    outcome = Outcome(source)
    request.environ[OUTCOME] = outcome
    return outcome


def _accepted(answer: dict[str, Any]) -> Answer:
    return msgspec.json.encode(answer), 202, _JSON
