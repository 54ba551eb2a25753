"""Okta System Log: an array (the API), lines, or a delivery of an event hook.

Fields: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
Event types: https://developer.okta.com/docs/reference/api/event-types/
Event hooks: https://developer.okta.com/docs/concepts/event-hooks/
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import json_records, raw_json
from audit_event_generator.ingest.timestamps import to_utc
from auditflow.contract.event import Event, LogSource, Severity, Timestamp
from auditflow.errors import ContractError

#: As in SigmaHQ's rules under rules/identity/okta.
LOG_SOURCE: Final = LogSource(product="okta", service="okta")
#: Okta's name for an unknown actor.
_UNKNOWN: Final = "unknown"
_RESULTS: Final = {"ALLOW": "SUCCESS", "DENY": "FAILURE", "UNKNOWN": None}
_NonEmpty = Annotated[str, Meta(min_length=1)]


class Party(Struct, rename="camel", gc=False):
    """An actor or a target."""

    id: str | None = None
    type: str | None = None
    alternate_id: str | None = None
    display_name: str | None = None

    @property
    def name(self) -> str | None:
        """The most readable name; None for an unknown actor."""
        names = (self.alternate_id, self.display_name, self.id)
        return next((name for name in names if name and name.lower() != _UNKNOWN), None)


class Location(Struct, gc=False):
    """geographicalContext."""

    city: str | None = None
    country: str | None = None


class Agent(Struct, rename="camel", gc=False):
    """userAgent."""

    raw_user_agent: str | None = None


class Client(Struct, rename="camel", gc=False):
    """The client of the request."""

    ip_address: str | None = None
    user_agent: Agent | None = None
    geographical_context: Location | None = None


class OktaOutcome(Struct, gc=False):
    """The result of the action."""

    result: str | None = None
    reason: str | None = None


class Record(Struct, rename="camel", gc=False):
    """The fields of a LogEvent that are used here. ``Event.record`` keeps the complete LogEvent."""

    uuid: _NonEmpty
    published: Timestamp
    event_type: _NonEmpty
    severity: str | None = None
    display_message: str | None = None
    actor: Party | None = None
    client: Client | None = None
    outcome: OktaOutcome | None = None
    target: list[Party] | None = None


_read = msgspec.json.Decoder(Record).decode


def split(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the LogEvents of an array, lines or an event hook, or a single LogEvent.

    Raises:
        ContractError: the body has none of these shapes.
        raw_json.MalformedJSON: the body is not JSON.
    """
    return json_records.split(body, _unwrap_hook)


def to_event(record: bytes) -> Event:
    """Convert one LogEvent. ``event_type`` is Okta's eventType, such as "user.session.start".

    Raises:
        ContractError: the record lacks a required field or a field has a wrong type.
    """
    entry = raw_json.read_record(_read, record)
    is_warning = entry.severity in ("WARN", "ERROR")
    return Event(
        event_id=entry.uuid,
        timestamp=to_utc(entry.published),
        event_type=entry.event_type[:128],
        source_service="okta",
        severity=Severity.WARNING if is_warning else Severity.INFO,
        user_id=entry.actor.name if entry.actor else None,
        action_result=_result(entry),
        client_ip=(entry.client.ip_address or None) if entry.client else None,
        resource=_resource(entry),
        details=_details(entry),
        logsource=LOG_SOURCE,
        record=Raw(record),
    )


def _unwrap_hook(document: Mapping[str, Raw]) -> tuple[str, bytes] | None:
    if "data" not in document:
        return None
    data = raw_json.read_object(bytes(document["data"]))
    if "events" not in data:
        raise ContractError("Object missing required field `events` - at `$.data`")
    return "data.events", bytes(data["events"])


def _result(record: Record) -> str | None:
    result = (record.outcome.result if record.outcome else None) or "UNKNOWN"
    return _RESULTS.get(result, result)


def _resource(record: Record) -> str | None:
    actor = record.actor.id if record.actor else None
    targets = record.target or []
    # A login names the user as a target too. Another target is more informative.
    others = [target for target in targets if not actor or target.id != actor]
    return next((name for target in (*others, *targets) if (name := target.name)), None)


def _details(record: Record) -> dict[str, Any] | None:
    client = record.client or Client()
    location = client.geographical_context or Location()
    values = {
        "displayMessage": record.display_message,
        "reason": record.outcome.reason if record.outcome else None,
        "actorType": record.actor.type if record.actor else None,
        "city": location.city,
        "country": location.country,
        "userAgent": client.user_agent.raw_user_agent if client.user_agent else None,
        "targets": [name for target in record.target or [] if (name := target.name)],
    }
    return {name: value for name, value in values.items() if value} or None
