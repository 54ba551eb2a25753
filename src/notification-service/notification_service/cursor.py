"""Cursors: a position in an ordered list. They are signed and opaque to clients."""

import hashlib
from typing import Any, Final, TypeVar
from uuid import UUID

import itsdangerous
import msgspec
from msgspec import Struct

from notification_service.order import KEYS, Sort

S = TypeVar("S", bound=Struct)

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

    def sign(self, value: Struct) -> str:
        """A cursor that contains a value."""
        cursor = self._serializer.dumps(msgspec.to_builtins(value))
        return cursor if isinstance(cursor, str) else cursor.decode()

    def verify(self, cursor: str, kind: type[S]) -> S:
        """The value in a cursor.

        Raises:
            InvalidCursor: this API did not issue the cursor, or not for values of this kind.
        """
        if len(cursor) > _MAX_LENGTH:
            raise InvalidCursor
        try:
            return msgspec.convert(self._serializer.loads(cursor), kind)
        except (itsdangerous.BadData, msgspec.MsgspecError):
            raise InvalidCursor from None

    def write(self, position: Position) -> str:
        """The cursor of a position."""
        return self.sign(position)

    def read(self, cursor: str) -> Position:
        """The position of a cursor.

        Raises:
            InvalidCursor: the cursor was not issued by this API.
        """
        position = self.verify(cursor, Position)
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
