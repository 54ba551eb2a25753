"""Who calls the API. The notification service knows the tokens, the people and their roles."""

import time
from typing import Final, Protocol

import httpx
import msgspec
from msgspec import Struct

from auditflow.contract.access import ADDRESS_HEADER, USER_HEADER, Me, Role
from auditflow.errors import AuditFlowError, Unavailable
from auditflow.http.problem import Problem

#: The headers that identify a caller. They are passed on as they are.
HEADERS: Final = ("Authorization", USER_HEADER)
#: The headers of an entry of the audit trail: also the address of a person.
TRAIL_HEADERS: Final = (*HEADERS, ADDRESS_HEADER)
#: Time for which an answer of the notification service is reused (seconds).
_CACHED_SECONDS: Final = 5.0
_MAX_CACHED: Final = 1_000
_MAX_HEADER: Final = 1_000


class Refusal(AuditFlowError):
    """The caller may not use the API. ``status`` is that of the answer."""

    def __init__(self, status: int, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Callers(Protocol):
    """Authenticates the callers of requests."""

    async def authenticate(self, headers: dict[str, str]) -> Me:
        """The caller with these headers, of those in ``HEADERS``.

        Raises:
            Refusal: there is no valid token, the person is disabled, or the rate is too high.
            Unavailable: the callers cannot be checked now.
        """
        ...


class _Known(Struct, frozen=True):
    until: float
    me: Me


class RemoteCallers:
    """Authenticates callers by the notification service at ``url``, with its tokens and roles."""

    def __init__(self, url: str, *, client: httpx.AsyncClient) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/me"
        self._client = client
        self._known: dict[tuple[str, ...], _Known] = {}

    async def authenticate(self, headers: dict[str, str]) -> Me:
        """See ``Callers``."""
        if not headers.get("Authorization"):
            raise Refusal(401, "Send a valid API token: Authorization: Bearer <token>")
        if any(len(value) > _MAX_HEADER or not value.isascii() for value in headers.values()):
            raise Refusal(401, "The header of the token or of the person is invalid.")
        key = tuple(headers.get(name, "") for name in HEADERS)
        known = self._known.get(key)
        if known is not None and known.until > time.monotonic():
            return known.me
        me = await self._ask(headers)
        if len(self._known) >= _MAX_CACHED:
            self._known.clear()
        self._known[key] = _Known(time.monotonic() + _CACHED_SECONDS, me)
        return me

    async def _ask(self, headers: dict[str, str]) -> Me:
        try:
            answer = await self._client.get(self._url, headers=headers)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable("notification-service", reason) from error
        raise_if_refused(answer)
        try:
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=Me)
        except (httpx.HTTPStatusError, msgspec.MsgspecError) as error:
            raise Unavailable("notification-service", f"answer {answer.status_code}") from error


def require(caller: Me, role: Role, scope: str) -> None:
    """Check that the caller has at least this role, and this scope.

    Raises:
        Refusal: it has not.
    """
    if caller.role.rank < role.rank:
        raise Refusal(403, f"This requires the role {role}. You have the role {caller.role}.")
    if scope not in caller.scopes:
        raise Refusal(403, f"This requires a token with the scope {scope}.")


def raise_if_refused(answer: httpx.Response) -> None:
    """Raise Refusal if the notification service refused a request."""
    if answer.status_code in (401, 403, 429):
        raise Refusal(answer.status_code, _detail(answer), answer.headers.get("Retry-After"))


def _detail(answer: httpx.Response) -> str:
    try:
        return msgspec.json.decode(answer.content, type=Problem).detail or answer.reason_phrase
    except msgspec.MsgspecError:
        return answer.reason_phrase
