"""The addresses where events come in."""

from typing import Any, Final

import msgspec
from flask import Blueprint, request

from audit_event_generator.delivery import Delivery
from audit_event_generator.ingest import batch, native, sources
from audit_event_generator.ingest.sealing import Sealed, seal
from audit_event_generator.metrics import Metrics, Source
from audit_event_generator.web import body, problems, webhooks
from audit_event_generator.web.guard import Guard
from audit_event_generator.web.observe import CORRELATION_ID, OUTCOME, Outcome
from auditflow.contract import bounds
from auditflow.errors import ContractError, Unavailable
from auditflow.http.problem import Problem

Answer = tuple[bytes, int, dict[str, str]]
#: What is taken at /ingest/<name>.
_SOURCES: Final[dict[Source, sources.Source]] = {
    "ndjson": sources.NDJSON,
    "kubernetes": sources.KUBERNETES,
    "cloudtrail": sources.CLOUDTRAIL,
    "auditd": sources.AUDITD,
    "github": sources.GITHUB,
    "okta": sources.OKTA,
    "gcp": sources.GCP,
    "alertmanager": sources.ALERTMANAGER,
}
_JSON = {"Content-Type": "application/json"}


def blueprint(
    delivery: Delivery, metrics: Metrics, guard: Guard, github_secret: str | None
) -> Blueprint:
    """The routes, all behind the token; what GitHub signed needs none."""
    routes = Blueprint("ingest", __name__)
    ingest = _Ingest(delivery, metrics)

    @routes.before_request
    def check_sender() -> Answer | None:
        if github_secret and webhooks.claims_to_be_signed(request):
            return webhooks.refuse(request, github_secret)
        return guard.refuse(request)

    @routes.post("/generate_event")
    def generate_event() -> Answer:
        return ingest.one("api")

    @routes.post("/ingest/github")
    def github() -> Answer:
        if webhooks.is_delivery(request):
            return ingest.webhook()
        return ingest.many("github", _SOURCES["github"])

    @routes.get("/ingest/okta")
    def okta_challenge() -> Answer:
        return webhooks.okta_challenge(request)

    def add(name: Source, source: sources.Source) -> None:
        routes.add_url_rule(
            f"/ingest/{name}", name, lambda: ingest.many(name, source), methods=["POST"]
        )

    for name, source in _SOURCES.items():
        if name != "github":
            add(name, source)
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
        return self._accept(outcome, sealed)

    def webhook(self) -> Answer:
        """A single delivery of GitHub."""
        outcome = _outcome("github")
        try:
            sealed = seal(webhooks.event_of(request, body.read(request)))
        except ContractError as error:
            self._refuse(outcome, 1)
            return problems.contract(error).response()
        return self._accept(outcome, sealed)

    def many(self, name: Source, source: sources.Source) -> Answer:
        """Records of which each stands for itself."""
        outcome = _outcome(name)
        document = body.read(request)
        try:
            taken = batch.take(source.records(document), source.event_of)
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

    def _accept(self, outcome: Outcome, sealed: Sealed) -> Answer:
        self._deliver(outcome, [sealed])
        return _accepted({"status": "success", "event_id": sealed.event_id})

    def _deliver(self, outcome: Outcome, sealed: list[Sealed]) -> None:
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
