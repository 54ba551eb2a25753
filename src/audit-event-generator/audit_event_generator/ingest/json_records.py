"""Split a JSON body into records: an array, lines, an object around an array, or one record."""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Raw

from audit_event_generator.ingest import ndjson, raw_json

#: Returns the location and the bytes of the array of records that an object contains.
#: Returns None if the object itself is the record.
Unwrap = Callable[[Mapping[str, Raw]], tuple[str, bytes] | None]


def split(body: bytes, unwrap: Unwrap = lambda _: None) -> Iterator[tuple[str, bytes]]:
    """Yield the location and the bytes of each record.

    Raises:
        ContractError: the body contains no records.
        raw_json.MalformedJSON: the body is not JSON.
    """
    document = body.strip()
    if not document:
        return
    if document.startswith(b"["):
        records = raw_json.read_array(document)
        yield from ((f"[{index}]", record) for index, record in enumerate(records))
    elif ndjson.is_ndjson(document):
        yield from ndjson.split_lines(body)
    else:
        wrapped = unwrap(raw_json.read_object(document))
        if wrapped is None:
            yield "$", document
            return
        name, array = wrapped
        yield from member_records(array, name=name)


def member_records(array: bytes, *, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the location and the bytes of each record of the array at ``$.name``.

    Raises:
        ContractError: the value is not an array.
    """
    records = raw_json.read_member_array(array, name=name)
    yield from ((f"{name}[{index}]", record) for index, record in enumerate(records))
