"""Events in AuditFlow's own shape: ``POST /generate_event`` and ``POST /ingest/ndjson``.

Members that the contract does not define are kept under ``details``. A member that is ``null`` is
treated as absent.
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from audit_event_generator.ingest import raw_json
from auditflow.contract import event, identity
from auditflow.contract.event import Event
from auditflow.errors import ContractError

_CONTRACT_FIELDS: Final = frozenset(Event.__struct_fields__)
_NULL: Final = b"null"


class _UnlimitedEvent(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An event without the contract's limits on length, so that it can be shortened."""

    event_id: Annotated[str, Meta(min_length=1)]
    event_type: Annotated[str, Meta(min_length=1)]


_decode_unlimited = msgspec.json.Decoder(_UnlimitedEvent).decode


def request_to_event(body: bytes) -> Event:
    """Return the event in a request. Only ``event_type`` is required.

    Defaults: a random identifier, the current time, ``action_result`` SUCCESS, and this API as
    ``source_service``. A user or a host is never made up.

    Raises:
        raw_json.MalformedJSON: the body is not JSON.
        ContractError: the event violates the contract. The text names the field.
    """
    document = _with_defaults(
        body,
        {
            "event_id": str(uuid.uuid4()),
            "timestamp": dt.datetime.now(dt.UTC),
            "source_service": "audit-event-generator-api",
            "action_result": "SUCCESS",
            "details": {},
        },
    )
    return event.decode(document)


def line_to_event(line: bytes) -> Event:
    """Return the event in a line of NDJSON. ``event_type`` and ``timestamp`` are required.

    The default ``event_id`` is the UUIDv5 of the line's bytes, so that the same line is the same
    event. The lengths of fields are not checked here: ``limits`` shortens long fields.

    Raises:
        ContractError: the line violates the contract. The text names the field.
    """
    document = _with_defaults(line, {"event_id": identity.record_id(line)})
    return raw_json.read_record(_decode_unlimited, document)


def _with_defaults(document: bytes, defaults: Mapping[str, object]) -> bytes:
    members = {
        name: value
        for name, value in raw_json.parse_object(document).items()
        if bytes(value) != _NULL
    }
    unknown = {name: members.pop(name) for name in members.keys() - _CONTRACT_FIELDS}
    if unknown:
        members["details"] = _merge_details(members.get("details"), unknown)
    return msgspec.json.encode({**defaults, **members})


def _merge_details(details: Raw | None, unknown: Mapping[str, Raw]) -> Raw:
    if details is None:
        existing: dict[str, Raw] = {}
    elif bytes(details).startswith(b"{"):
        existing = raw_json.parse_object(bytes(details))
    else:
        return details  # not an object: the contract's own error explains it better
    for name in sorted(unknown):
        if name in existing:
            raise ContractError(f"is also in `details`, and would replace it - at `$.{name}`")
    return Raw(msgspec.json.encode({**existing, **dict(sorted(unknown.items()))}))
