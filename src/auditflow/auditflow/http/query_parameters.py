"""Reads the query parameters of a request. All errors in them are reported together."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from auditflow.errors import AuditFlowError
from auditflow.http.problem import Fault

#: Converts the text of a parameter. It raises ``InvalidValue`` if the text is wrong.
Reader = Callable[[str], Any]
_TIMESTAMP: Final[Any] = Annotated[dt.datetime, Meta(tz=True)]


class InvalidParameters(AuditFlowError):
    """Parameters that are unknown, repeated, missing or wrong."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.where}: {fault.what}" for fault in self.faults))


class InvalidValue(ValueError):
    """A value is wrong. The text states the reason."""


class Repeatable(Struct, frozen=True):
    """A parameter that can be given up to ``maximum`` times. Its value is a tuple."""

    read: Reader
    maximum: int


def parse(
    parameters: Iterable[tuple[str, str]],
    readers: Mapping[str, Reader | Repeatable],
    *,
    required: Iterable[str] = (),
    check: Callable[[Mapping[str, Any]], Iterable[Fault]] | None = None,
) -> dict[str, Any]:
    """Read the parameters that are given. A repeatable parameter that is not given is ``()``.

    Args:
        parameters: names and texts, in the order of the request.
        readers: the allowed parameters.
        required: the names of parameters that must be given.
        check: returns the contradictions between values. A value with a fault is None there.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, missing or wrong,
            and for each contradiction.
    """
    values: dict[str, Any] = {
        name: () for name, reader in readers.items() if isinstance(reader, Repeatable)
    }
    counts = dict.fromkeys(readers, 0)
    faults: list[Fault] = []
    for name, text in parameters:
        reader = readers.get(name)
        if reader is None:
            allowed = ", ".join(readers)
            faults.append(Fault(_printable(name), f"unknown parameter; allowed are {allowed}"))
            continue
        counts[name] += 1
        earlier = values.setdefault(name, None)
        try:
            values[name] = _value(reader, text, counts[name], earlier)
        except InvalidValue as error:
            faults.append(Fault(name, str(error)))
    faults += [Fault(name, "is required") for name in required if not counts[name]]
    if check is not None:
        faults += check(values)
    if faults:
        raise InvalidParameters(faults)
    return values


def integer(lowest: int, highest: int) -> Reader:
    """Read an integer from ``lowest`` to ``highest``, both from 0."""

    def read_integer(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= 18 and lowest <= int(text) <= highest:
            return int(text)
        raise InvalidValue(f"must be an integer from {lowest} to {highest}")

    return read_integer


def text(longest: int, *, shortest: int = 1) -> Reader:
    """Read a text of ``shortest`` to ``longest`` characters."""

    def read_text(value: str) -> str:
        if not shortest <= len(value) <= longest or "\0" in value:
            raise InvalidValue(f"must be {shortest} to {longest} characters, without NUL")
        return value

    return read_text


def boolean(text: str) -> bool:
    """Read ``true`` or ``false``."""
    if text not in ("true", "false"):
        raise InvalidValue("must be true or false")
    return text == "true"


def timestamp(text: str) -> dt.datetime:
    """Read a time with an offset. The result is in UTC."""
    try:
        parsed: dt.datetime = msgspec.convert(text, _TIMESTAMP)
        return parsed.astimezone(dt.UTC)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidValue(
            "must be a time with an offset by RFC 3339, such as 2026-01-31T08:00:00Z"
            " (in a URL, write + as %2B)"
        ) from None


def member_of(values: type[StrEnum] | tuple[str, ...]) -> Reader:
    """Read a member of an enumeration, or one of several texts."""
    members = {str(value): value for value in values}

    def read_member(text: str) -> Any:
        if text not in members:
            raise InvalidValue(f"must be one of {', '.join(members)}")
        return members[text]

    return read_member


def members_of(values: type[StrEnum] | tuple[str, ...]) -> Reader:
    """Read one or more members, separated by commas. The result is a tuple without repetitions."""
    members = {str(value): value for value in values}

    def read_members(text: str) -> tuple[Any, ...]:
        names = text.split(",")
        if len(names) > len(members) or not all(name in members for name in names):
            allowed = ", ".join(members)
            raise InvalidValue(f"must be one or more of {allowed}, separated by commas")
        return tuple(dict.fromkeys(members[name] for name in names))

    return read_members


def _value(reader: Reader | Repeatable, text: str, count: int, earlier: Any) -> Any:
    if not isinstance(reader, Repeatable):
        if count > 1:
            raise InvalidValue("is given more than once")
        return reader(text)
    if count > reader.maximum:
        raise InvalidValue(f"is given more than {reader.maximum} times")
    return (*earlier, reader.read(text))


def _printable(name: str) -> str:
    # A name may have any length and any characters. The answer shows a readable part of it.
    return "".join(letter if letter.isprintable() else "?" for letter in name[:64])
