"""Cursors: the place after an alert in a list. Opaque to clients, and signed."""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

_SIGNATURE_BYTES: Final = 12


class Place(Struct, frozen=True, array_like=True):
    """An alert's key in the order of lists: newest opened first, then by identifier."""

    opened_at: dt.datetime
    alert_id: UUID


class BadCursor(ValueError):
    """A cursor that this API did not give, or gave under another token."""


class Cursors:
    """Makes and reads cursors. All replicas share the secret, so any reads what another made."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"alerts cursor\n" + secret.encode()).digest()

    def write(self, place: Place) -> str:
        """The cursor for what follows a place."""
        payload = msgspec.json.encode(place)
        return base64.urlsafe_b64encode(self._sign(payload) + payload).rstrip(b"=").decode()

    def read(self, cursor: str) -> Place:
        """The place that a cursor means.

        Raises:
            BadCursor: it was not made here.
        """
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise BadCursor from None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(payload)):
            raise BadCursor
        return msgspec.json.decode(payload, type=Place)

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_SIGNATURE_BYTES]
