"""Webhooks: verify the signatures of GitHub, answer the challenges of Okta."""

import datetime as dt
import re
from typing import Final

import msgspec
from flask import Request
from msgspec import Struct

from audit_event_generator.ingest import github_webhook
from auditflow.contract.event import Event
from auditflow.errors import ContractError
from auditflow.http.problem import Problem

Answer = tuple[bytes, int, dict[str, str]]
_GITHUB: Final = "/ingest/github"
_SIGNATURE: Final = "X-Hub-Signature-256"
_EVENT: Final = "X-GitHub-Event"
_DELIVERY: Final = "X-GitHub-Delivery"
_CHALLENGE: Final = "X-Okta-Verification-Challenge"
#: Valid names of events and deliveries. They become parts of events.
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def is_delivery(request: Request) -> bool:
    """Whether the request is a webhook delivery, not a part of the audit log."""
    return _EVENT in request.headers


def requires_signature(request: Request) -> bool:
    """Whether the signature authenticates this request, not the token."""
    return request.path == _GITHUB and (_SIGNATURE in request.headers or is_delivery(request))


def refuse(request: Request, secret: str) -> Answer | None:
    """Return None if GitHub signed the body with the secret, else the error response."""
    signature = request.headers.get(_SIGNATURE, "")
    if github_webhook.is_signed(request.get_data(), signature, secret):
        return None
    detail = f"{_SIGNATURE} is not the signature of this body with the secret of this service."
    return Problem(401, "Unauthorized", detail).response()


class DeliveryHeaders(Struct, frozen=True):
    """The headers X-GitHub-Event and X-GitHub-Delivery."""

    name: str
    delivery: str


def delivery_headers(request: Request) -> DeliveryHeaders:
    """Return the headers of a delivery.

    Raises:
        ContractError: a header is missing or invalid.
    """
    name, delivery = (request.headers.get(header, "") for header in (_EVENT, _DELIVERY))
    for header, value in ((_EVENT, name), (_DELIVERY, delivery)):
        if not _NAME.fullmatch(value):
            raise ContractError(f"the header {header} must be 1 to 64 letters, digits, _ . -")
    return DeliveryHeaders(name, delivery)


def to_event(headers: DeliveryHeaders, body: bytes) -> Event:
    """Convert a delivery of GitHub.

    Raises:
        ContractError: the payload is invalid.
    """
    return github_webhook.to_event(
        body, name=headers.name, delivery=headers.delivery, received=dt.datetime.now(dt.UTC)
    )


def okta_challenge(request: Request) -> Answer:
    """Answer the verification request of Okta.

    https://developer.okta.com/docs/concepts/event-hooks/#one-time-verification-request
    """
    challenge = request.headers.get(_CHALLENGE)
    if not challenge:
        detail = f"GET is for Okta's verification, with the header {_CHALLENGE}."
        return Problem(400, "Bad Request", detail).response()
    answer = {"verification": challenge}
    return msgspec.json.encode(answer), 200, {"Content-Type": "application/json"}
