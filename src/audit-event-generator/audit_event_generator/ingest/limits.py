"""Adapt an event that exceeds a limit of the contract, so that its record is not lost.

A source's users control parts of its records: identifiers, paths, request bodies. An event that
violates a limit because of such content is shortened, and the names of the shortened fields are in
``details.truncated``.
"""

import json
import math
import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from audit_event_generator.ingest import json_scan
from auditflow.contract import bounds, identity
from auditflow.contract.event import Event
from auditflow.errors import ContractError

#: The member of ``details`` with the names of the fields that were shortened or replaced.
TRUNCATED: Final = "truncated"
#: Maximum length of the text fields of an event that is shortened, in characters.
MAX_TEXT: Final = 4096
#: Maximum number of names in ``details.truncated``.
MAX_NAMES: Final = 20
_MAX_ID: Final = 256
_MAX_TYPE: Final = 128
_TEXT_FIELDS: Final = (
    "source_service", "server_hostname", "user_id", "action_result", "client_ip", "resource",
)  # fmt: skip
#: Maximum depth of ``record`` and ``details``: the event around them is one level.
_MAX_INNER_DEPTH: Final = bounds.MAX_DEPTH - 1
#: A longer integer becomes a string. Python refuses to convert more than 4,300 digits.
_MAX_DIGITS: Final = 300
_UNLIMITED: Final = bounds.MAX_DOCUMENT_BYTES
#: Maximum length of a string and maximum number of elements or members, from the least to the most
#: strict. The first pair with which a value has the permitted size is used.
_LEVELS: Final = (
    (_UNLIMITED, _UNLIMITED), (16_384, 1000), (MAX_TEXT, 500), (1024, 200), (256, 100), (64, 20),
)  # fmt: skip
#: Characters that no database or no UTF-8 text can contain.
_INVALID: Final = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"


def shorten(event: Event, record: bytes) -> Event:
    """Return the event with all fields within the limits of the contract.

    ``record`` is the source's record. Its hash replaces an identifier that is too long.
    """
    names: list[str] = []
    changes: dict[str, Any] = {}
    if not 1 <= len(event.event_id) <= _MAX_ID or _INVALID.search(event.event_id):
        changes["event_id"] = identity.record_id(record)
        names.append("event_id")
        if event.record is UNSET:
            changes["record"] = Raw(record)
    for name, limit in (("event_type", _MAX_TYPE), *((field, MAX_TEXT) for field in _TEXT_FIELDS)):
        value = getattr(event, name)
        if isinstance(value, str) and (text := _limit(value, limit, 0)) != value:
            changes[name] = text
            names.append(name)
    details = _limit_details(event.details or {}, names)
    shortened = msgspec.structs.replace(event, **changes)
    if isinstance(shortened.record, Raw):
        without_record = msgspec.structs.replace(shortened, record=UNSET, details=details)
        available = bounds.MAX_DOCUMENT_BYTES - len(msgspec.json.encode(without_record)) - 4096
        original = bytes(shortened.record)
        limited = repair(original, max_bytes=available)
        if limited != original:
            names.append("record")
            shortened = msgspec.structs.replace(
                shortened, record=UNSET if limited is None else Raw(limited)
            )
    if names:
        details[TRUNCATED] = [name[:_MAX_TYPE] for name in names[:MAX_NAMES]]
    return msgspec.structs.replace(shortened, details=details or None)


def mark(event: Event, name: str) -> Event:
    """Return the event with a name in ``details.truncated``."""
    details = event.details or {}
    names = details.get(TRUNCATED)
    marked = [*(names if isinstance(names, list) else []), name]
    return msgspec.structs.replace(event, details={**details, TRUNCATED: marked})


def repair(document: bytes, *, max_bytes: int = bounds.MAX_DOCUMENT_BYTES) -> bytes | None:
    """Return a document within the bounds of the contract, with as much of its content as possible.

    A document within the bounds is returned unchanged. Otherwise invalid characters are replaced by
    U+FFFD, numbers without a finite value become strings, values that are nested too deep become
    ``null``, and long strings and arrays are shortened. Returns None if it still is not JSON.
    """
    if len(document) <= max_bytes and _is_valid(document):
        return document
    try:
        pruned = json_scan.prune(document, max_depth=_MAX_INNER_DEPTH)
        value = json.loads(
            pruned.decode("utf-8", "replace"),
            strict=False,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=str,
        )
    except (ValueError, RecursionError, json_scan.ScanError):
        return None
    return _fit(value, max_bytes)


def _limit_details(details: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return ``details`` within the limits, and append the names of the changed members."""
    limited = msgspec.json.decode(_fit(details, bounds.MAX_DOCUMENT_BYTES // 2) or b"{}")
    names += [f"details.{name}" for name in details if limited.get(name) != details[name]]
    return limited if isinstance(limited, dict) else {}


def _fit(value: Any, max_bytes: int) -> bytes | None:
    for max_length, max_items in _LEVELS:
        limited = msgspec.json.encode(_limit(value, max_length, max_items))
        if len(limited) <= max_bytes:
            return limited
    return None


def _is_valid(document: bytes) -> bool:
    try:
        bounds.check(document, max_depth=_MAX_INNER_DEPTH)
        msgspec.json.decode(document)
    except (ContractError, msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _finite(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def _limit(value: Any, max_length: int, max_items: int, depth: int = _MAX_INNER_DEPTH) -> Any:
    """Return a decoded JSON value with limited strings, arrays, objects and depth."""
    if isinstance(value, str):
        return _INVALID.sub(_REPLACEMENT, value[:max_length])
    if not isinstance(value, (list, dict)):
        return value
    if depth == 0:
        return None
    if isinstance(value, list):
        return [_limit(item, max_length, max_items, depth - 1) for item in value[:max_items]]
    return {
        _limit(name, min(max_length, _MAX_TYPE), 0): _limit(
            member, max_length, max_items, depth - 1
        )
        for name, member in list(value.items())[:max_items]
    }
