"""Events in our own shape, as ``POST /generate_event`` and ``POST /ingest/ndjson`` take them.

Fields that the contract does not know are kept under ``details``: nothing is lost. A field that
is ``null`` is one that is not given.
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from audit_event_generator.ingest import envelope
from auditflow.contract import event, identity
from auditflow.contract.event import Event
from auditflow.errors import ContractError

_KNOWN: Final = frozenset(Event.__struct_fields__)
_NULL: Final = b"null"


def of_request(body: bytes) -> Event:
    """The event in a request. Only ``event_type`` must be given.

    It gets an identifier, the time of now, an unremarkable outcome, and us as its source. Who did
    it and where is never invented.

    Raises:
        ContractError: what does not fit, and where (``envelope.Malformed``: not JSON at all).
    """
    return _read(
        body,
        {
            "event_id": str(uuid.uuid4()),
            "timestamp": dt.datetime.now(dt.UTC),
            "source_service": "audit-event-generator-api",
            "action_result": "SUCCESS",
            "details": {},
        },
    )


def of_line(line: bytes) -> Event:
    """The event in a line of NDJSON. ``event_type`` and ``timestamp`` must be given.

    Without an ``event_id`` it gets that of the line's bytes, so the same line is the same event.

    Raises:
        ContractError: what does not fit, and where.
    """
    return _read(line, {"event_id": identity.record_id(line)})


def _read(document: bytes, defaults: Mapping[str, object]) -> Event:
    envelope.check_text(document)
    given = {k: v for k, v in envelope.fields(document).items() if bytes(v) != _NULL}
    unknown = {name: given.pop(name) for name in given.keys() - _KNOWN}
    if unknown:
        given["details"] = _joined(given.get("details"), unknown)
    return event.decode(msgspec.json.encode({**defaults, **given}))


def _joined(details: Raw | None, unknown: Mapping[str, Raw]) -> Raw:
    if details is None:
        known: dict[str, Raw] = {}
    elif bytes(details).startswith(b"{"):
        known = envelope.fields(bytes(details))
    else:
        return details  # not an object: the contract says so, better than we could
    for name in sorted(unknown):
        if name in known:
            raise ContractError(f"is also in `details`, and would replace it - at `$.{name}`")
    return Raw(msgspec.json.encode({**known, **dict(sorted(unknown.items()))}))
