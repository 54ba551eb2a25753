"""Faults of a request body, in words that name the field and the permitted values.

msgspec finds the faults. Its texts are for Python developers: they name types of Python, and do not
list the members of an enumeration.
"""

import re
from functools import lru_cache
from typing import Any, Final, cast

import msgspec
from msgspec import Struct, inspect

from auditflow.http.problem import Fault

#: The place of a fault that is not in a field.
BODY: Final = "body"
#: Longest name of a field of the client that an error repeats, in characters.
_MAX_NAME: Final = 60

_AT: Final = re.compile(r" - at `(?P<path>.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|(\[[^\]]*\])")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_LENGTH: Final = re.compile(r"Expected `(str|array|object|bytes)` of length (>=|<=) (\d+)")
_NUMBER: Final = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)")
_TYPE: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_NAMES: Final = {
    "str": "a text", "int": "an integer", "float": "a decimal number", "bool": "true or false",
    "array": "a list", "object": "an object", "null": "null", "uuid": "a UUID",
    "datetime": "a time", "date": "a date",
}  # fmt: skip
_UNITS: Final = {"str": "character", "array": "item", "object": "field", "bytes": "byte"}
#: What a text must fulfil, by the pattern in the schema.
_PATTERNS: Final = {
    r"^[^\x00]*$": "must not contain the character NUL",
    r"^[^\x00-\x1f\x7f]+$": "must not contain control characters",
}
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_TIME: Final = "must be a time with an offset by RFC 3339, such as 2026-01-31T08:00:00Z"


def fault_of(error: Exception, kind: type[Struct]) -> Fault:
    """The fault that decoding a body as ``kind`` raised: its field, and what is expected.

    Errors that are not about a field have the place ``body``.
    """
    if not isinstance(error, msgspec.ValidationError):
        return Fault(BODY, _syntax_fault(error))
    text = str(error)
    path = ""
    if at := _AT.search(text):
        path, text = at["path"], text[: at.start()]
    steps = [name or index for name, index in _STEP.findall(path)]
    where = re.sub(r"^\.", "", "".join(s if s.startswith("[") else f".{s}" for s in steps))
    expected = _type_at(kind, steps)
    if found := _MISSING.fullmatch(text):
        return Fault(f"{where}.{found[1]}" if where else found[1], "is required")
    if found := _UNKNOWN.fullmatch(text):
        return Fault(where or BODY, _unknown_field(found[1], expected))
    return Fault(where or BODY, _value_fault(text, expected))


def _syntax_fault(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if byte := _BYTE.search(str(error)):
        return f"is not valid JSON, at byte {byte[1]}"
    return "is not valid JSON"


def _value_fault(text: str, expected: Any) -> str:
    if text.startswith(("Invalid enum value", "Invalid value")):
        return f"must be one of {', '.join(_members(expected))}"
    if "matching regex" in text:
        return _text_fault(expected)
    if "datetime" in text or text.startswith("Time"):
        return _TIME
    if text == "Invalid UUID":
        return "must be a UUID, such as 0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"
    if found := _LENGTH.match(text):
        unit = _UNITS[found[1]] + ("" if found[3] == "1" else "s")
        return f"must have {_BOUNDS[found[2]]} {found[3]} {unit}"
    if found := _NUMBER.match(text):
        return f"must be {_BOUNDS[found[1]]} {found[2]}"
    if found := _TYPE.match(text):
        allowed = " or ".join(_NAMES.get(name, name) for name in found[1].split(" | "))
        return f"must be {allowed}, not {_NAMES.get(found[2], found[2])}"
    return text


def _unknown_field(name: str, expected: Any) -> str:
    shown = name if len(name) <= _MAX_NAME else name[:_MAX_NAME] + "…"
    fields = [field.encode_name for field in getattr(expected, "fields", ())]
    known = f"the fields are {', '.join(fields)}" if fields else "there are no fields"
    return f"unknown field {shown!r}; {known}"


def _type_at(kind: type[Struct], steps: list[str]) -> Any:
    """The type of the value at a path of a message, without null, or None if it is unknown."""
    found: Any = _type_of(kind)
    for step in steps:
        found = _plain(found)
        if step.startswith("["):
            found = getattr(found, "item_type", None) or getattr(found, "value_type", None)
        else:
            fields = getattr(found, "fields", ())
            found = next((field.type for field in fields if field.encode_name == step), None)
    return _plain(found)


@lru_cache
def _type_of(kind: type[Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _plain(found: Any) -> Any:
    """A type without its description, and without null if it is the only alternative.

    A description is kept if it states a rule for values.
    """
    while True:
        if isinstance(found, inspect.Metadata) and (
            not _rule_of(found) or isinstance(found.type, inspect.UnionType)
        ):
            found = found.type
        elif isinstance(found, inspect.UnionType):
            others = [kind for kind in found.types if not isinstance(kind, inspect.NoneType)]
            if len(others) != 1:
                return found
            found = others[0]
        else:
            return found


def _rule_of(expected: Any) -> str | None:
    extra = expected.extra if isinstance(expected, inspect.Metadata) else None
    return cast(str | None, (extra or {}).get("rule"))


def _text_fault(expected: Any) -> str:
    pattern = getattr(_plain(expected), "pattern", None)
    return _rule_of(expected) or _PATTERNS.get(pattern or "", "contains invalid characters")


def _members(expected: Any) -> list[str]:
    if isinstance(expected, inspect.EnumType):
        return [str(member.value) for member in expected.cls]
    return [str(value) for value in getattr(expected, "values", ())]
