"""Cursors: a position in an ordered list. They are signed and opaque to clients."""

import hashlib
from typing import Any, Final
from uuid import UUID

import itsdangerous
import msgspec
from msgspec import Struct

from notification_service.order import KEYS, Sort

_SALT: Final = b"auditflow alert list cursor"
#: Longest cursor that is read, in characters.
_MAX_LENGTH: Final = 2_000


class Position(Struct, frozen=True, array_like=True):
    """The sort keys of an alert, as text, and its identifier. A page starts after it."""

    sort: Sort
    keys: tuple[str, ...]
    alert_id: UUID


class InvalidCursor(ValueError):
    """A cursor that this API did not issue, or issued with another token."""


class Cursors:
    """Writes and reads cursors. All replicas share the secrets, so each can read every cursor.

    Cursors are signed with the first secret. Signatures by the other secrets are accepted.
    """

    def __init__(self, *secrets: str) -> None:
        self._serializer = itsdangerous.URLSafeSerializer(
            list(reversed(secrets)),  # the last one signs
            salt=_SALT,
            serializer=_Json,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def write(self, position: Position) -> str:
        """The cursor of a position."""
        cursor = self._serializer.dumps(msgspec.to_builtins(position))
        return cursor if isinstance(cursor, str) else cursor.decode()

    def read(self, cursor: str) -> Position:
        """The position of a cursor.

        Raises:
            InvalidCursor: the cursor was not issued by this API.
        """
        if len(cursor) > _MAX_LENGTH:
            raise InvalidCursor
        try:
            position = msgspec.convert(self._serializer.loads(cursor), Position)
        except (itsdangerous.BadData, msgspec.ValidationError):
            raise InvalidCursor from None
        if len(position.keys) != len(KEYS[position.sort]):
            raise InvalidCursor
        return position


class _Json:
    """JSON for itsdangerous, without spaces."""

    @staticmethod
    def dumps(value: Any) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        return msgspec.json.decode(text)
