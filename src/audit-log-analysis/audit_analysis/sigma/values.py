"""Compiles each kind of Sigma value into a predicate over the values of a field."""

import datetime as dt
import ipaddress
from collections.abc import Callable
from typing import Final

import re2
from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
    TimestampPart,
)

from audit_analysis.sigma.errors import Unsupported
from audit_analysis.sigma.fields import View, text
from audit_analysis.sigma.text_sets import TextSet

Predicate = Callable[[View], bool]
_Test = Callable[[str], bool]

_COMPARE: Final[dict[CompareOperators, Callable[[float, float], bool]]] = {
    CompareOperators.LT: lambda a, b: a < b,
    CompareOperators.LTE: lambda a, b: a <= b,
    CompareOperators.GT: lambda a, b: a > b,
    CompareOperators.GTE: lambda a, b: a >= b,
    CompareOperators.NEQ: lambda a, b: a != b,
}
_FLAGS: Final = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}


def predicate(field: str, value: SigmaType) -> Predicate:
    """The predicate that a value of ``field`` matches ``value``.

    Raises:
        Unsupported: this engine does not support this kind of value.
    """
    match value:
        case TextSet():
            return _lowered(field, value.test())
        case SigmaExpansion():
            alternatives = [predicate(field, alternative) for alternative in value.values]
            return lambda view: any(matches(view) for matches in alternatives)
        case SigmaNull():
            return lambda view: all(found is None for found in view.values(field))
        case SigmaExists():
            wanted = bool(value)
            return lambda view: view.has(field) is wanted
        case SigmaFieldReference():
            return _reference(field, value)
        case SigmaCompareExpression():
            return _comparison(field, value)
        case SigmaCIDRExpression():
            network = value.network
            return lambda view: any(_is_in(found, network) for found in view.values(field))
        case SigmaRegularExpression():
            return _texts(field, _regex(value))
        case SigmaTimestampPart():
            return _timestamp_part(field, value)
        case SigmaBool() | SigmaNumber():
            plain = str(text(value.to_plain()))
            return lambda view: plain in view.lowered(field)
        case SigmaCasedString():
            return _texts(field, string_test(value, cased=True))
        case SigmaString():
            return _lowered(field, string_test(value))
    raise Unsupported(f"values of the kind {type(value).__name__}")


def _lowered(field: str, test: _Test) -> Predicate:
    """Test the values in lower case. A plain loop, because this is the most frequent predicate."""

    def holds(view: View) -> bool:
        for found in view.lowered(field):  # noqa: SIM110
            if test(found):
                return True
        return False

    return holds


def _texts(field: str, test: _Test) -> Predicate:
    """Test the values with their case."""

    def holds(view: View) -> bool:
        for value in view.values(field):
            found = text(value)
            if found is not None and test(found):
                return True
        return False

    return holds


def keyword(value: SigmaType) -> Predicate:
    """The predicate that a text occurs anywhere in an event.

    Raises:
        Unsupported: this engine cannot search for this kind of value.
    """
    if isinstance(value, SigmaRegularExpression):
        search = _regex(value)
        return lambda view: any(map(search, view.everything()))
    if isinstance(value, SigmaNumber):
        number = str(value)
        return lambda view: any(number in found for found in view.everything())
    if not isinstance(value, SigmaString):
        raise Unsupported(f"keywords of the kind {type(value).__name__}")
    inside = SpecialChars.WILDCARD_MULTI + value + SpecialChars.WILDCARD_MULTI
    test = string_test(inside)
    return lambda view: any(map(test, view.everything()))


def plain(value: SigmaType) -> str | None:
    """The text in lower case of a value without wildcards; None for other values."""
    if isinstance(value, SigmaCasedString) or not isinstance(value, SigmaString):
        return None
    if any(not isinstance(part, str) for part in value.s):
        return None
    return "".join(str(part) for part in value.s).lower()


def string_test(value: SigmaString, *, cased: bool = False) -> _Test:
    """The test that a complete text matches a string with wildcards.

    Without ``cased`` the tested text must be in lower case.
    """
    parts = [part if cased or not isinstance(part, str) else part.lower() for part in value.s]
    if any(isinstance(part, Placeholder) for part in parts):
        raise Unsupported("a placeholder without values")
    many = SpecialChars.WILDCARD_MULTI
    match parts:
        case []:
            return lambda found: found == ""
        case [str(complete)]:
            return lambda found: found == complete
        case [single] if single is many:
            return lambda found: True
        case [str(start), end] if end is many:
            return _starts(start)
        case [start, str(end)] if start is many:
            return _ends(end)
        case [start, str(middle), end] if start is many and end is many:
            return lambda found: middle in found
    pattern = "".join(_part(part) for part in parts)
    options = re2.Options()
    options.log_errors = False
    try:
        matches = re2.compile(f"(?s){pattern}", options).fullmatch
    except re2.error:
        raise Unsupported("a text with too many wildcards") from None
    return lambda found: matches(found) is not None


def _starts(start: str) -> _Test:
    return lambda found: found.startswith(start)


def _ends(end: str) -> _Test:
    return lambda found: found.endswith(end)


def _part(part: object) -> str:
    if isinstance(part, str):
        return str(re2.escape(part))
    return ".*" if part is SpecialChars.WILDCARD_MULTI else "."


def _regex(value: SigmaRegularExpression) -> _Test:
    flags = "".join(sorted(_FLAGS[flag] for flag in value.flags))
    pattern = (f"(?{flags})" if flags else "") + str(value.regexp)
    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(pattern, options).search
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise Unsupported(f"the regular expression {pattern!r}: RE2 says: {reason}") from None
    return lambda found: search(found) is not None


def _comparison(field: str, value: SigmaCompareExpression) -> Predicate:
    compare, limit = _COMPARE[value.op], float(value.number.number)
    if isinstance(value.number, SigmaTimestampPart):
        part = _PARTS[value.number.timestamp_part]
        return _timestamps(field, lambda timestamp: compare(part(timestamp), limit))

    def holds(view: View) -> bool:
        for found in view.values(field):
            try:
                if isinstance(found, bool) or found is None:
                    continue
                if compare(float(found), limit):
                    return True
            except (ValueError, OverflowError):
                continue  # A text that is not a number fulfils no comparison.
        return False

    return holds


def _reference(field: str, value: SigmaFieldReference) -> Predicate:
    other, starts, ends = value.field, value.starts_with, value.ends_with

    def matches(value: str, reference: str) -> bool:
        if starts and ends:  # how pySigma represents `contains`
            return reference in value
        if starts or ends:
            return (not starts or value.startswith(reference)) and (
                not ends or value.endswith(reference)
            )
        return value == reference

    return lambda view: any(
        matches(found, reference)
        for found in view.lowered(field)
        for reference in view.lowered(other)
    )


_PARTS: Final[dict[TimestampPart, Callable[[dt.datetime], int]]] = {
    TimestampPart.MINUTE: lambda timestamp: timestamp.minute,
    TimestampPart.HOUR: lambda timestamp: timestamp.hour,
    TimestampPart.DAY: lambda timestamp: timestamp.day,
    TimestampPart.WEEK: lambda timestamp: timestamp.isocalendar().week,
    TimestampPart.MONTH: lambda timestamp: timestamp.month,
    TimestampPart.YEAR: lambda timestamp: timestamp.year,
}


def _timestamp_part(field: str, value: SigmaTimestampPart) -> Predicate:
    part, wanted = _PARTS[value.timestamp_part], value.number
    return _timestamps(field, lambda timestamp: part(timestamp) == wanted)


def _timestamps(field: str, test: Callable[[dt.datetime], bool]) -> Predicate:
    """Test the values that are RFC 3339 timestamps."""

    def holds(view: View) -> bool:
        for value in view.values(field):
            try:
                if isinstance(value, str) and test(dt.datetime.fromisoformat(value)):
                    return True
            except ValueError:
                continue  # A text that is not a timestamp does not match.
        return False

    return holds


def _is_in(value: object, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    if not isinstance(value, str):
        return False
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False  # Host names do not match.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address in network or (mapped is not None and mapped in network)
