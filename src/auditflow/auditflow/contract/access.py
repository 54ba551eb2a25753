"""The messages of the alert API about people, roles and API tokens."""

from enum import StrEnum
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from auditflow.contract.event import Timestamp

#: Header with the name of the person for whom the dashboard sends a request, percent-encoded
#: UTF-8. It is read only with the service token.
USER_HEADER: Final = "X-AuditFlow-User"
#: Header with the IP address of this person. It is read only with the service token.
ADDRESS_HEADER: Final = "X-AuditFlow-Address"
#: Longest name of a person or of an API token, in characters.
MAX_NAME: Final = 200


# At least one character is not a space.
PersonName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$(?!\n)",
        extra={"rule": "must be a name: at least one visible character, no control characters"},
    ),
]


class Role(StrEnum):
    """What a person or an API token may do. Each role includes the ones before it."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    LEAD = "lead"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for viewer up to 3 for admin."""
        return list(Role).index(self)


class Me(Struct, frozen=True):
    """The caller."""

    name: str
    kind: Literal["person", "token"]
    role: Role
    scopes: tuple[str, ...] = ()


class User(Struct, frozen=True, kw_only=True):
    """A person."""

    name: str
    role: Role
    disabled: bool = False
    created_at: Timestamp | None = None
    last_seen_at: Timestamp | None = None


class UserRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The role of a person."""

    role: Role
    disabled: bool = False


class UserList(Struct, frozen=True):
    """All people, by name."""

    users: tuple[User, ...]


Scope = Literal["alerts:read", "alerts:write", "audit:read", "admin"]


class TokenRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new API token."""

    name: PersonName
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=4)]
    expires_in_days: Annotated[int, Meta(ge=1, le=366)] = 90


class Token(Struct, frozen=True, kw_only=True):
    """An API token, without its secret."""

    token_id: UUID
    name: str
    scopes: tuple[Scope, ...]
    created_by: str
    created_at: Timestamp
    expires_at: Timestamp
    revoked_at: Timestamp | None = None
    last_used_at: Timestamp | None = None


class IssuedToken(Struct, frozen=True, kw_only=True):
    """A new API token with its secret, which is shown only here."""

    token: Token
    secret: Annotated[str, Meta(description="Send it as `Authorization: Bearer <secret>`.")]


class TokenList(Struct, frozen=True):
    """All API tokens, the newest first."""

    tokens: tuple[Token, ...] = field(default_factory=tuple)
