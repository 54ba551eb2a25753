"""One value of a rule against the values of a field: what each kind of Sigma value means."""

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
    """Whether any value of ``field`` is what ``value`` says.

    Raises:
        Unsupported: a kind of value that this engine does not do, by name.
    """
    match value:
        case SigmaExpansion():
            either = [predicate(field, one) for one in value.values]
            return lambda view: any(one(view) for one in either)
        case SigmaNull():
            return lambda view: all(one is None for one in view.values(field))
        case SigmaExists():
            wanted = bool(value)
            return lambda view: view.has(field) is wanted
        case SigmaFieldReference():
            return _reference(field, value)
        case SigmaCompareExpression():
            return _comparison(field, value)
        case SigmaCIDRExpression():
            network = value.network
            return lambda view: any(_inside(one, network) for one in view.values(field))
        case SigmaRegularExpression():
            return _texts(field, _regex(value))
        case SigmaTimestampPart():
            return _part_of_time(field, value)
        case SigmaBool() | SigmaNumber():
            plain = str(text(value.to_plain()))
            return lambda view: plain in view.lowered(field)
        case SigmaCasedString():
            return _texts(field, string_test(value, cased=True))
        case SigmaString():
            return _lowered(field, string_test(value))
    raise Unsupported(f"values of the kind {type(value).__name__}")


def _lowered(field: str, test: _Test) -> Predicate:
    """Whether a test holds for any value, in lower case. A plain loop, for it is the hottest."""

    def holds(view: View) -> bool:
        for found in view.lowered(field):  # noqa: SIM110
            if test(found):
                return True
        return False

    return holds


def _texts(field: str, test: _Test) -> Predicate:
    """Whether a test that minds case holds for any value."""

    def holds(view: View) -> bool:
        for one in view.values(field):
            found = text(one)
            if found is not None and test(found):
                return True
        return False

    return holds


def keyword(value: SigmaType) -> Predicate:
    """Whether a text is found anywhere in the event.

    Raises:
        Unsupported: a kind of value that cannot be searched for.
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
    """The lower-case text that a value without wildcards is equal to, else None."""
    if isinstance(value, SigmaCasedString) or not isinstance(value, SigmaString):
        return None
    if any(not isinstance(part, str) for part in value.s):
        return None
    return "".join(str(part) for part in value.s).lower()


def string_test(value: SigmaString, *, cased: bool = False) -> _Test:
    """Whether a whole text is what the string with its wildcards says.

    Without ``cased`` the text must be in lower case already.
    """
    parts = [part if cased or not isinstance(part, str) else part.lower() for part in value.s]
    if any(isinstance(part, Placeholder) for part in parts):
        raise Unsupported("a placeholder that stands for nothing")
    many = SpecialChars.WILDCARD_MULTI
    match parts:
        case []:
            return lambda found: found == ""
        case [str(whole)]:
            return lambda found: found == whole
        case [single] if single is many:
            return lambda found: True
        case [str(start), end] if end is many:
            return _starts(start)
        case [start, str(end)] if start is many:
            return _ends(end)
        case [start, str(middle), end] if start is many and end is many:
            return lambda found: middle in found
    pattern = "".join(_part(part) for part in parts)
    matches = re2.compile(f"(?s){pattern}").fullmatch
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
        return _moments(field, lambda moment: compare(part(moment), limit))

    def holds(view: View) -> bool:
        for one in view.values(field):
            try:
                if not isinstance(one, bool) and one is not None and compare(float(one), limit):
                    return True
            except (ValueError, OverflowError):
                continue  # text that is no number is neither above nor below one
        return False

    return holds


def _reference(field: str, value: SigmaFieldReference) -> Predicate:
    other, starts, ends = value.field, value.starts_with, value.ends_with

    def same(one: str, two: str) -> bool:
        if starts and ends:  # which is how pySigma says `contains`
            return two in one
        if starts or ends:
            return (not starts or one.startswith(two)) and (not ends or one.endswith(two))
        return one == two

    return lambda view: any(
        same(one, two) for one in view.lowered(field) for two in view.lowered(other)
    )


_PARTS: Final[dict[TimestampPart, Callable[[dt.datetime], int]]] = {
    TimestampPart.MINUTE: lambda moment: moment.minute,
    TimestampPart.HOUR: lambda moment: moment.hour,
    TimestampPart.DAY: lambda moment: moment.day,
    TimestampPart.WEEK: lambda moment: moment.isocalendar().week,
    TimestampPart.MONTH: lambda moment: moment.month,
    TimestampPart.YEAR: lambda moment: moment.year,
}


def _part_of_time(field: str, value: SigmaTimestampPart) -> Predicate:
    part, wanted = _PARTS[value.timestamp_part], value.number
    return _moments(field, lambda moment: part(moment) == wanted)


def _moments(field: str, test: Callable[[dt.datetime], bool]) -> Predicate:
    """Whether a test holds for any value that is a time."""

    def holds(view: View) -> bool:
        for one in view.values(field):
            try:
                if isinstance(one, str) and test(dt.datetime.fromisoformat(one)):
                    return True
            except ValueError:
                continue  # text that is no time has no hour
        return False

    return holds


def _inside(value: object, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    if not isinstance(value, str):
        return False
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False  # a host name is in no network
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address in network or (mapped is not None and mapped in network)
