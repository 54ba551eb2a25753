"""Read JSON documents without decoding the records that they contain."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from auditflow.contract import bounds
from auditflow.errors import ContractError

_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
#: Deeper than the maximum depth of a record plus the depth of the document around it.
_CUT_DEPTH: Final = bounds.MAX_DEPTH + 8

#: The beginning of msgspec's error text. The text of ``MalformedJSON`` already says it.
_PREFIX: Final = "JSON is malformed: "

_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_read_array = msgspec.json.Decoder(list[Raw]).decode

T = TypeVar("T")


class MalformedJSON(ContractError):
    """The bytes are not JSON."""


def check_encoding(document: bytes) -> None:
    """Check that a document is not empty and is UTF-8.

    Raises:
        MalformedJSON: it is empty or not UTF-8.
    """
    if not document:
        raise MalformedJSON("the document is empty")
    try:
        document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJSON(f"not UTF-8 at byte {error.start}") from None


def read_object(document: bytes) -> dict[str, Raw]:
    """Return the members of a JSON object, each as its own bytes.

    Raises:
        MalformedJSON: the document is not JSON.
        ContractError: the document is JSON, but not an object.
    """
    return _read(_read_object, document)


def read_array(document: bytes) -> list[bytes]:
    """Return the elements of a JSON array, each as its own bytes.

    Raises:
        MalformedJSON: the document is not JSON.
        ContractError: the document is JSON, but not an array.
    """
    return [bytes(element) for element in _read(_read_array, document)]


def read_member_array(array: bytes, *, name: str) -> list[bytes]:
    """Return the elements of the array at ``$.name``; an empty list for ``null``.

    Raises:
        ContractError: the value is not an array.
    """
    if array == b"null":
        return []
    try:
        return [bytes(element) for element in _read_array(array)]
    except msgspec.MsgspecError as error:
        raise ContractError(f"{error} - at `$.{name}`") from None


def read_text(value: Raw | None) -> str | None:
    """Return a member that is a string; None if it is absent or has another type."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def read_record(decode: Callable[[bytes], T], record: bytes) -> T:
    """Decode one record with a typed decoder of msgspec.

    Raises:
        MalformedJSON: the record is not JSON.
        ContractError: the record does not have the source's shape. The text names the field.
    """
    try:
        return decode(record)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except msgspec.ValidationError as error:
        raise ContractError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error) from None


def _read(decode: Callable[[bytes], T], document: bytes) -> T:
    try:
        return _read_once(decode, document)
    except RecursionError:
        # One record is nested too deep. Remove its deep part, so that only this record is refused.
        return _read_once(decode, _cut(document))


def _read_once(decode: Callable[[bytes], T], document: bytes) -> T:
    try:
        return decode(document)
    except msgspec.ValidationError as error:
        raise ContractError(f"{error} - at `$`") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error) from None


def _malformed(error: Exception) -> MalformedJSON:
    return MalformedJSON(f"malformed JSON: {str(error).removeprefix(_PREFIX)}")


def _cut(document: bytes) -> bytes:
    """Return the document with everything deeper than ``_CUT_DEPTH`` replaced by ``null``."""
    kept: list[bytes] = []
    level = start = 0
    for match in _TOKENS.finditer(document):
        token = match[0]
        if token in (b"{", b"["):
            level += 1
            if level == _CUT_DEPTH + 1:
                kept.append(document[start : match.start()] + b"null")
        elif token in (b"}", b"]"):
            if level == _CUT_DEPTH + 1:
                start = match.end()
            level -= 1
    kept.append(document[start:] if level <= _CUT_DEPTH else b"")
    return b"".join(kept)
