"""Who calls the API, and what the caller may do."""

from typing import Final
from urllib.parse import unquote

from msgspec import Struct
from quart import Request

from auditflow.contract.alert import MAX_NAME, Me, Role
from auditflow.errors import AuditFlowError
from auditflow.http.tokens import Tokens
from notification_service.history import Actor

#: The name of the person that the dashboard acts for, percent-encoded UTF-8. It is read only with
#: the service token.
USER_HEADER: Final = "X-AuditFlow-User"
#: The name of a caller that shows the service token without a person.
SERVICE_NAME: Final = "service"


class Caller(Struct, frozen=True):
    """The caller of one request."""

    actor: Actor
    role: Role
    scopes: tuple[str, ...] = ("alerts:read", "alerts:write", "admin")

    @property
    def me(self) -> Me:
        """The caller, as the API shows it."""
        return Me(
            name=self.actor.name,
            kind="person" if self.actor.kind == "person" else "token",
            role=self.role,
            scopes=self.scopes,
        )


class Unauthorized(AuditFlowError):
    """The request has no valid token."""


class Forbidden(AuditFlowError):
    """The caller may not do this. The text says what is required."""


class Callers:
    """Authenticates requests by their token."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def authenticate(self, request: Request) -> Caller:
        """The caller of a request.

        Raises:
            Unauthorized: there is no token, or it is not valid.
        """
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._tokens.matches(shown.encode()):
            raise Unauthorized("Send the API token: Authorization: Bearer <token>")
        name = unquote(request.headers.get(USER_HEADER, "")).strip()
        if not name:
            return Caller(Actor(SERVICE_NAME, "token"), Role.ADMIN)
        if len(name) > MAX_NAME or not name.isprintable():
            raise Unauthorized(f"{USER_HEADER} must be 1 to {MAX_NAME} printable characters")
        return Caller(Actor(name, "person"), Role.ANALYST)


def require(caller: Caller, role: Role, scope: str) -> None:
    """Check that the caller has at least this role, and this scope.

    Raises:
        Forbidden: it has not.
    """
    if caller.role.rank < role.rank:
        raise Forbidden(f"This requires the role {role}; you have the role {caller.role}.")
    if scope not in caller.scopes:
        raise Forbidden(f"This requires a token with the scope {scope}.")
