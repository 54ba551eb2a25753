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
    """Makes and reads cursors. All replicas share the secrets, so any reads what another made.

    They are made with the first secret; what others made is read.
    """

    def __init__(self, *secrets: str) -> None:
        self._keys = [hashlib.sha256(b"alerts cursor\n" + one.encode()).digest() for one in secrets]

    def write(self, place: Place) -> str:
        """The cursor for what follows a place."""
        payload = msgspec.json.encode(place)
        return (
            base64.urlsafe_b64encode(_sign(self._keys[0], payload) + payload).rstrip(b"=").decode()
        )

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
        if not any(hmac.compare_digest(signature, _sign(key, payload)) for key in self._keys):
            raise BadCursor
        return msgspec.json.decode(payload, type=Place)


def _sign(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, "sha256")[:_SIGNATURE_BYTES]
