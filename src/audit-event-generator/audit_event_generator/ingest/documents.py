"""How services hand over JSON records: an array, lines, an envelope around them, or one alone."""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Raw

from audit_event_generator.ingest import envelope, ndjson

#: Of an object's members, the array of records that it wraps, by name. None: it is a record itself.
Unwrap = Callable[[Mapping[str, Raw]], tuple[str, bytes] | None]


def records(body: bytes, unwrap: Unwrap = lambda _: None) -> Iterator[tuple[str, bytes]]:
    """Each record, with the place where it stands.

    Raises:
        ContractError: the body holds no records (``envelope.Malformed``: not JSON at all).
    """
    document = body.strip()
    if not document:
        return
    if document.startswith(b"["):
        envelope.check_text(document)
        yield from ((f"[{index}]", one) for index, one in enumerate(envelope.array(document)))
    elif are_lines(document):
        yield from ndjson.lines(body)
    else:
        envelope.check_text(document)
        inside = unwrap(envelope.fields(document))
        if inside is None:
            yield "$", document
            return
        name, array = inside
        found = envelope.elements(array, name=name)
        yield from ((f"{name}[{index}]", one) for index, one in enumerate(found))


def are_lines(document: bytes) -> bool:
    """Whether each line is a document: the first one opens and ends, and is not all there is."""
    first, newline, _ = document.strip().partition(b"\n")
    return bool(newline) and first.startswith(b"{") and first.rstrip().endswith(b"}")
