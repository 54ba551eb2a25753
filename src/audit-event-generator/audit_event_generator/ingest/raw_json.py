"""Read JSON documents without decoding the records that they contain.

An invalid record does not affect the others: where msgspec rejects the whole document, the scanner
finds the records.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from audit_event_generator.ingest import json_scan
from auditflow.contract import bounds
from auditflow.errors import ContractError

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


def parse_object(document: bytes) -> dict[str, Raw]:
    """Return the members of a JSON object. All of it must be valid JSON.

    Raises:
        MalformedJSON: the document is not JSON.
        ContractError: the document is JSON, but not an object.
    """
    check_encoding(document)
    try:
        return _read_object(document)
    except msgspec.ValidationError as error:
        raise ContractError(f"{error} - at `$`") from None
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error) from None


def read_object(document: bytes) -> dict[str, Raw]:
    """Return the members of a JSON object, each as its own bytes. They may be invalid JSON.

    Raises:
        MalformedJSON: the document is not JSON.
        ContractError: the document is JSON, but not an object.
    """
    if not document.strip():
        raise MalformedJSON("the document is empty")
    try:
        return _read_object(document)
    except msgspec.ValidationError as error:
        raise ContractError(f"{error} - at `$`") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _scan_object(document, error)


def read_array(document: bytes) -> list[bytes]:
    """Return the elements of a JSON array, each as its own bytes. They may be invalid JSON.

    Raises:
        MalformedJSON: the document is not JSON.
        ContractError: the document is JSON, but not an array.
    """
    return _read_elements(document, path="$")


def read_member_array(array: bytes, *, name: str) -> list[bytes]:
    """Return the elements of the array at ``$.name``; an empty list for ``null``.

    Raises:
        ContractError: the value is not an array.
    """
    return [] if array == b"null" else _read_elements(array, path=f"$.{name}")


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
    check_encoding(record)
    try:
        return decode(record)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except msgspec.ValidationError as error:
        raise ContractError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error) from None


def _read_elements(array: bytes, *, path: str) -> list[bytes]:
    try:
        return [bytes(element) for element in _read_array(array)]
    except msgspec.ValidationError as error:
        raise ContractError(f"{error} - at `{path}`") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            return json_scan.split_array(array)
        except json_scan.ScanError:
            raise _malformed(error) from None


def _scan_object(document: bytes, error: Exception) -> dict[str, Raw]:
    try:
        members = json_scan.split_object(document)
        return {msgspec.json.decode(key, type=str): Raw(value) for key, value in members}
    except (json_scan.ScanError, msgspec.MsgspecError, UnicodeDecodeError):
        raise _malformed(error) from None


def _malformed(error: Exception) -> MalformedJSON:
    if isinstance(error, RecursionError):
        return MalformedJSON("malformed JSON: nested too deep")
    return MalformedJSON(f"malformed JSON: {str(error).removeprefix(_PREFIX)}")
