"""Reading requests: the body, If-Match, identifiers."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct
from quart import Request

from auditflow.errors import AuditFlowError, Unavailable
from auditflow.http.body_faults import fault_of
from auditflow.http.problem import Fault

#: A client does not wait longer. A slow statement ends before; this limit is for a hung server.
ANSWER_SECONDS: Final = 4.0

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


class InvalidBody(AuditFlowError):
    """The request body is not the JSON that the route expects. The text says where and why."""

    def __init__(self, text: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(text)
        self.faults = faults

    @classmethod
    def at(cls, where: str, what: str) -> "InvalidBody":
        """A fault of one field, such as ``matchers[0]``."""
        return cls(f"{where}: {what}", (Fault(where, what),))


class PreconditionRequired(AuditFlowError):
    """The request changes an alert without ``If-Match``, or with an invalid one."""


async def in_thread(
    function: Callable[[], T],
    *,
    seconds: float | None = ANSWER_SECONDS,
    dependency: str = "postgresql",
) -> T:
    """Run a function of the database, or of another dependency, in a thread for a limited time.

    Raises:
        Unavailable: it takes too long.
    """
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(function)
    except TimeoutError:
        raise Unavailable(dependency, f"no answer within {seconds:g} s") from None


async def body_of(request: Request, kind: type[S]) -> S:
    """Decode the request body. An empty body is the same as an empty object.

    Raises:
        InvalidBody: the body is not a valid message of this kind.
    """
    raw = await request.get_data(cache=False)
    try:
        try:
            return msgspec.json.decode(raw or b"{}", type=kind)
        except msgspec.ValidationError:
            return msgspec.convert(_with_integers(msgspec.json.decode(raw or b"{}")), kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        fault = fault_of(error, kind)
        raise InvalidBody(f"{fault.where}: {fault.what}", (fault,)) from None


def _with_integers(value: Any) -> Any:
    """The same JSON with 200 for 200.0, which JSON schema permits as an integer."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_integers(item) for key, item in value.items()}
    return value


def expected_version(request: Request) -> int | None:
    """The ``triage_version`` that ``If-Match`` requires, or None for ``If-Match: *``.

    Raises:
        PreconditionRequired: the header is missing or is no ETag of an alert.
    """
    given = request.headers.get("If-Match", "").strip()
    if given == "*":
        return None
    digits = given.removeprefix("W/").strip('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise PreconditionRequired(
            "Send If-Match with the ETag of the alert, or If-Match: * for any version."
        )
    return int(digits)


def identifier(text: str) -> UUID | None:
    """The identifier in a path, in the form that the API itself uses, or None."""
    try:
        parsed = UUID(text)
    except ValueError:
        return None
    return parsed if str(parsed) == text.lower() else None
