"""JSON documents around records: opened without looking into the records themselves."""

import re
from typing import Final

import msgspec
from msgspec import Raw

from auditflow.contract import bounds
from auditflow.errors import ContractError

_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
#: Deeper than any record that would be taken, with the envelope around it.
_CUT_AT: Final = bounds.MAX_DEPTH + 8

#: What msgspec says first, and we have said already.
_PREFIX: Final = "JSON is malformed: "

_read = msgspec.json.Decoder(dict[str, Raw]).decode
_read_array = msgspec.json.Decoder(list[Raw]).decode


class Malformed(ContractError):
    """Not JSON at all."""


def check_text(document: bytes) -> None:
    """Refuse what cannot be JSON whatever it says.

    Raises:
        Malformed: it is empty, or not UTF-8.
    """
    if not document:
        raise Malformed("there is nothing in it")
    try:
        document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None


def fields(document: bytes) -> dict[str, Raw]:
    """The members of a JSON object, each as its own bytes.

    Raises:
        Malformed: it is not JSON.
        ContractError: it is JSON, and not an object.
    """
    try:
        return _parse(document)
    except RecursionError:
        # One record is nested absurdly deep. Cut it there, so that it alone is refused.
        return _parse(_cut(document))


def elements(array: bytes, *, name: str) -> list[bytes]:
    """The elements of the JSON array that is called ``name``; none for ``null``.

    Raises:
        ContractError: it is not an array.
    """
    if array == b"null":
        return []
    try:
        return [bytes(one) for one in _read_array(array)]
    except msgspec.MsgspecError as error:
        raise ContractError(f"{error} - at `$.{name}`") from None


def array(document: bytes) -> list[bytes]:
    """The elements of a document that is a JSON array, each as its own bytes.

    Raises:
        Malformed: it is not JSON.
        ContractError: it is JSON, and not an array.
    """
    try:
        return _parse_array(document)
    except RecursionError:
        return _parse_array(_cut(document))


def text(value: Raw | None) -> str | None:
    """A member that is a string; None for one that is absent or anything else."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _parse(document: bytes) -> dict[str, Raw]:
    try:
        return _read(document)
    except msgspec.ValidationError as error:
        raise ContractError(f"{error} - at `$`") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"malformed JSON: {str(error).removeprefix(_PREFIX)}") from None


def _parse_array(document: bytes) -> list[bytes]:
    try:
        return [bytes(one) for one in _read_array(document)]
    except msgspec.ValidationError as error:
        raise ContractError(f"{error} - at `$`") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"malformed JSON: {str(error).removeprefix(_PREFIX)}") from None


def _cut(document: bytes) -> bytes:
    """The document with everything that is nested deeper than ``_CUT_AT`` left out."""
    kept: list[bytes] = []
    level = start = 0
    for match in _TOKENS.finditer(document):
        token = match[0]
        if token in (b"{", b"["):
            level += 1
            if level == _CUT_AT + 1:
                kept.append(document[start : match.start()] + b"null")
        elif token in (b"}", b"]"):
            if level == _CUT_AT + 1:
                start = match.end()
            level -= 1
    kept.append(document[start:] if level <= _CUT_AT else b"")
    return b"".join(kept)
