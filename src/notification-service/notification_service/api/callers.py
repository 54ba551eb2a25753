"""Who calls the API, what the caller may do, and how often."""

import time
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

import limits
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from msgspec import Struct

from auditflow.contract.access import ADDRESS_HEADER, MAX_NAME, USER_HEADER, Me, Role, Scope, User
from auditflow.errors import AuditFlowError
from auditflow.http.tokens import Tokens
from notification_service.api.requests import in_thread
from notification_service.database.access_store import TOKEN_PREFIX, AccessStore
from notification_service.history import Actor

#: The name of a caller that sends the service token without a person.
SERVICE_NAME: Final = "service"
#: The role of a person that is not in the table of users yet.
DEFAULT_ROLE: Final = Role.ANALYST
#: Requests that a person or an API token may send in a minute. The service token itself has no
#: limit.
REQUESTS_PER_MINUTE: Final = 3000
#: Requests without a valid token that an address may send.
FAILURE_LIMIT: Final = limits.parse("60/minute")
#: Time for which the role of a person is reused, in seconds.
_USER_SECONDS: Final = 2.0
_MAX_USERS: Final = 10_000
_MAX_ADDRESS: Final = 100
_ALL_SCOPES: Final[tuple[Scope, ...]] = ("alerts:read", "alerts:write", "audit:read", "admin")
_ROLE_OF_SCOPE: Final[dict[str, Role]] = {
    "alerts:read": Role.VIEWER,
    "alerts:write": Role.ANALYST,
    "audit:read": Role.LEAD,  # everything else that a lead may do needs the scope admin
    "admin": Role.ADMIN,
}


class Caller(Struct, frozen=True):
    """The caller of one request."""

    actor: Actor
    role: Role
    scopes: tuple[Scope, ...] = _ALL_SCOPES
    #: The address of the client. For a person, it is the address that the dashboard reports.
    address: str = ""
    #: Whether the service token was sent without a person.
    is_service: bool = False

    @property
    def me(self) -> Me:
        """The caller, as the API shows it."""
        return Me(
            name=self.actor.name,
            kind="person" if self.actor.kind == "person" else "token",
            role=self.role,
            scopes=self.scopes,
        )


class AuthenticatedRequest(Protocol):
    """The parts of a request that authentication reads."""

    @property
    def headers(self) -> Any:
        """A mapping with the method ``get``. The case of a name does not matter."""
        ...

    @property
    def remote_addr(self) -> str | None:
        """The address of the client."""
        ...


class Unauthorized(AuditFlowError):
    """The request has no valid token."""


class Forbidden(AuditFlowError):
    """The caller may not do this. The text says what is required."""


class TooManyRequests(AuditFlowError):
    """The caller sends too many requests. ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many requests. Repeat the request later.")
        self.retry_after = retry_after


class Callers:
    """Authenticates requests by their token and limits their rate."""

    def __init__(
        self, tokens: Tokens, store: AccessStore, *, per_minute: int = REQUESTS_PER_MINUTE
    ) -> None:
        """``per_minute`` is the number of requests of a person or an API token."""
        self._tokens = tokens
        self._store = store
        self._caller_limit = limits.RateLimitItemPerMinute(per_minute)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._users: dict[str, tuple[float, User]] = {}

    async def authenticate(self, request: AuthenticatedRequest) -> Caller:
        """The caller of a request.

        Raises:
            Unauthorized: there is no valid token, or the person is disabled.
            TooManyRequests: the caller, or the address without a valid token, is over its limit.
            Unavailable: the database is unavailable.
        """
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if self._tokens.matches(secret.encode()):
                return await self._of_service(request)
            if secret.startswith(TOKEN_PREFIX) and len(secret) <= 200:
                self._check_failures(request)
                token = await in_thread(lambda: self._store.valid_token(secret))
                if token is not None:
                    self._limit(self._caller_limit, "token", str(token.token_id))
                    role = max((_ROLE_OF_SCOPE[it] for it in token.scopes), key=lambda r: r.rank)
                    return Caller(
                        Actor(token.name, "token"), role, token.scopes, request.remote_addr or ""
                    )
        self._limit(FAILURE_LIMIT, "failure", request.remote_addr or "")
        raise Unauthorized("Send a valid API token: Authorization: Bearer <token>")

    async def _of_service(self, request: AuthenticatedRequest) -> Caller:
        encoded = request.headers.get(USER_HEADER)
        if encoded is None:
            return Caller(
                Actor(SERVICE_NAME, "token"),
                Role.ADMIN,
                address=request.remote_addr or "",
                is_service=True,
            )
        name = _name(encoded)
        self._limit(self._caller_limit, "person", name)
        user = await self._user(name)
        if user.disabled:
            raise Forbidden("This person is disabled.")
        address = request.headers.get(ADDRESS_HEADER, request.remote_addr or "")
        return Caller(Actor(name, "person"), user.role, address=address[:_MAX_ADDRESS])

    async def _user(self, name: str) -> User:
        now = time.monotonic()
        known = self._users.get(name)
        if known is not None and now - known[0] < _USER_SECONDS:
            return known[1]
        user = await in_thread(lambda: self._store.see_user(name, DEFAULT_ROLE))
        if len(self._users) >= _MAX_USERS:
            self._users.clear()
        self._users[name] = (now, user)
        return user

    def forget(self, name: str) -> None:
        """Read a person again at the next request, because the role was changed."""
        self._users.pop(name, None)

    def _check_failures(self, request: AuthenticatedRequest) -> None:
        address = request.remote_addr or ""
        if not self._limiter.test(FAILURE_LIMIT, "failure", address):
            raise TooManyRequests(60)

    def _limit(self, limit: limits.RateLimitItem, kind: str, name: str) -> None:
        if not self._limiter.hit(limit, kind, name):
            stats = self._limiter.get_window_stats(limit, kind, name)
            raise TooManyRequests(max(1, int(stats.reset_time - time.time()) + 1))


def require(caller: Caller, role: Role, scope: Scope) -> None:
    """Check that the caller has at least this role, and this scope.

    Raises:
        Forbidden: it has not.
    """
    if scope not in caller.scopes and caller.actor.kind == "token":
        given = ", ".join(sorted(caller.scopes))
        raise Forbidden(f"This requires the scope {scope}. The token has the scopes {given}.")
    if caller.role.rank < role.rank:
        raise Forbidden(f"This requires the role {role}. You have the role {caller.role}.")
    if scope not in caller.scopes:
        raise Forbidden(f"This requires a token with the scope {scope}.")


def _name(encoded: str) -> str:
    try:
        name = unquote_to_bytes(encoded).decode().strip()
    except UnicodeDecodeError:
        name = ""
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise Unauthorized(
            f"{USER_HEADER} must be a name of 1 to {MAX_NAME} printable characters,"
            " percent-encoded UTF-8"
        )
    return name
