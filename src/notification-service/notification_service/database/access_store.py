"""Users with their roles, and API tokens. Only the hash of a token is stored."""

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from auditflow.contract.access import IssuedToken, Role, Scope, Token, User
from auditflow.errors import Unavailable
from notification_service.database.pool import Pool

#: The beginning of every API token, so that scanners of secrets recognize it.
TOKEN_PREFIX: Final = "aft_"  # noqa: S105 - not a secret
_SECRET_BYTES: Final = 32

_USER: Final = "name, role, disabled, created_at, last_seen_at"
_COLUMNS: Final = (
    "token_id, name, scopes, created_by, created_at, expires_at, revoked_at, last_used_at"
)
# The last use is stored at most once a minute, so that reads do not cause a write each.
_SEEN: Final = f"""
    INSERT INTO users (name, role, last_seen_at) VALUES (%(name)s, %(role)s, now())
    ON CONFLICT (name) DO UPDATE SET last_seen_at = now()
        WHERE users.last_seen_at IS NULL OR users.last_seen_at < now() - interval '1 minute'
    RETURNING {_USER}
"""
_READ_USER: Final = f"SELECT {_USER} FROM users WHERE name = %(name)s"
_READ_USERS: Final = f"SELECT {_USER} FROM users ORDER BY name"
_PUT_USER: Final = f"""
    INSERT INTO users (name, role, disabled) VALUES (%(name)s, %(role)s, %(disabled)s)
    ON CONFLICT (name) DO UPDATE SET (role, disabled) = (excluded.role, excluded.disabled)
    RETURNING {_USER}
"""
_VALID: Final = f"""
    SELECT {_COLUMNS} FROM api_tokens
    WHERE secret_hash = %s AND revoked_at IS NULL AND expires_at > now()
"""
_USED: Final = """
    UPDATE api_tokens SET last_used_at = now() WHERE token_id = %s
    AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""
_ISSUE: Final = f"""
    INSERT INTO api_tokens (token_id, name, secret_hash, scopes, created_by, expires_at)
    VALUES (%s, %s, %s, %s, %s, now() + make_interval(days => %s)) RETURNING {_COLUMNS}
"""
_REVOKE: Final = f"""
    UPDATE api_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE token_id = %s
    RETURNING {_COLUMNS}
"""
_READ_ALL: Final = f"SELECT {_COLUMNS} FROM api_tokens ORDER BY created_at DESC, token_id"


class AccessStore:
    """Reads and changes users and API tokens."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def see_user(self, name: str, default_role: Role) -> User:
        """The person with this name, who is added with the default role if unknown.

        If the database cannot write, the person is not stored.
        """
        rows = []
        with suppress(Unavailable):
            rows = self._rows(_SEEN, {"name": name, "role": str(default_role)})
        if not rows:  # seen within the last minute, or the database is read-only or full
            rows = self._rows(_READ_USER, {"name": name})
        return _user(rows[0]) if rows else User(name=name, role=default_role)

    def users(self) -> list[User]:
        """All people, by name."""
        return [_user(row) for row in self._rows(_READ_USERS, ())]

    def put_user(self, name: str, role: Role, *, disabled: bool) -> User:
        """Set the role of a person, who is added if unknown."""
        values = {"name": name, "role": str(role), "disabled": disabled}
        return _user(self._rows(_PUT_USER, values)[0])

    def valid_token(self, secret: str) -> Token | None:
        """The token with this secret, unless it is revoked or has expired."""
        with self.pool.cursor() as cursor:
            cursor.execute(_VALID, (_hash(secret),))
            row = cursor.fetchone()
        if row is None:
            return None
        token = _token(row)
        with suppress(Unavailable), self.pool.cursor() as cursor:
            cursor.execute(_USED, (str(token.token_id),))
        return token

    def issue_token(
        self, name: str, scopes: Sequence[Scope], *, created_by: str, days: int
    ) -> IssuedToken:
        """Create a token. Its secret cannot be read again."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        values = (str(uuid4()), name, _hash(secret), sorted(set(scopes)), created_by, days)
        return IssuedToken(token=_token(self._rows(_ISSUE, values)[0]), secret=secret)

    def tokens(self) -> list[Token]:
        """All tokens, the newest first."""
        return [_token(row) for row in self._rows(_READ_ALL, ())]

    def revoke_token(self, token_id: UUID) -> Token | None:
        """Revoke a token, or return None if it does not exist. It is invalid from now on."""
        rows = self._rows(_REVOKE, (str(token_id),))
        return _token(rows[0]) if rows else None

    def _rows(self, statement: str, values: Any) -> list[tuple[Any, ...]]:
        with self.pool.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()


def _hash(secret: str) -> bytes:
    # The secret has 256 random bits, so a fast hash without salt is sufficient.
    return hashlib.sha256(secret.encode()).digest()


def _user(row: tuple[Any, ...]) -> User:
    return msgspec.convert(dict(zip(User.__struct_fields__, row, strict=True)), User)


def _token(row: tuple[Any, ...]) -> Token:
    return msgspec.convert(dict(zip(Token.__struct_fields__, row, strict=True)), Token)
