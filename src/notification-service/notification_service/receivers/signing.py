"""Signatures of webhooks by the specification Standard Webhooks (standardwebhooks.com).

A receiver verifies the HMAC-SHA256 of ``id.timestamp.body``, refuses old timestamps, and skips
identifiers that it has seen.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final
from uuid import UUID

from auditflow.errors import AuditFlowError

PREFIX: Final = "whsec_"
#: By the specification, 24 to 64 bytes. Our generated secrets are longer as text.
MIN_KEY_BYTES: Final = 16


class SigningKeyError(AuditFlowError):
    """A signing key cannot be used."""


def key_of(secret: str) -> bytes:
    """The key in a secret: base64 after ``whsec_``, otherwise the text's own bytes.

    Raises:
        SigningKeyError: it is too short, or not base64.
    """
    try:
        key = (
            base64.b64decode(secret.removeprefix(PREFIX), validate=True)
            if secret.startswith(PREFIX)
            else secret.encode()
        )
    except binascii.Error:
        raise SigningKeyError("the signing key is not base64 after whsec_") from None
    if len(key) < MIN_KEY_BYTES:
        raise SigningKeyError(f"the signing key has less than {MIN_KEY_BYTES} bytes")
    return key


def headers(notification_id: UUID, timestamp: int, body: bytes, key: bytes) -> dict[str, str]:
    """The headers of a request that is signed with the secret ``key`` (HMAC-SHA-256).

    ``timestamp`` is in seconds since 1970.
    """
    signed = b".".join([str(notification_id).encode(), str(timestamp).encode(), body])
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": str(notification_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
        "idempotency-key": str(notification_id),
    }
