"""The System Log of Okta: an array (its API), lines, or an event hook's delivery.

The fields: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
The kinds of events: https://developer.okta.com/docs/reference/api/event-types/
Event hooks: https://developer.okta.com/docs/concepts/event-hooks/
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import documents, envelope
from auditflow.contract import bounds
from auditflow.contract.event import Event, LogSource, Severity, Timestamp
from auditflow.errors import ContractError

#: As in SigmaHQ's rules under rules/identity/okta.
LOG_SOURCE: Final = LogSource(product="okta", service="okta")
#: What Okta calls whom it does not know.
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
        """The clearest name that it has. Nobody is not somebody called unknown."""
        names = (self.alternate_id, self.display_name, self.id)
        return next((one for one in names if one and one.lower() != _UNKNOWN), None)


class Place(Struct, gc=False):
    """geographicalContext."""

    city: str | None = None
    country: str | None = None


class Agent(Struct, rename="camel", gc=False):
    """userAgent."""

    raw_user_agent: str | None = None


class Client(Struct, rename="camel", gc=False):
    """Where the request came from."""

    ip_address: str | None = None
    user_agent: Agent | None = None
    geographical_context: Place | None = None


class Outcome(Struct, gc=False):
    """How it ended."""

    result: str | None = None
    reason: str | None = None


class Record(Struct, rename="camel", gc=False):
    """The fields of a LogEvent that are read here; the others stay in ``Event.record``."""

    uuid: _NonEmpty
    published: Timestamp
    event_type: _NonEmpty
    severity: str | None = None
    display_message: str | None = None
    actor: Party | None = None
    client: Client | None = None
    outcome: Outcome | None = None
    target: list[Party] | None = None


_read = msgspec.json.Decoder(Record).decode


def records(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The events in a body: an array, lines, an event hook's delivery, or a single one.

    Raises:
        ContractError: it is none of them (``envelope.Malformed``: not JSON at all).
    """
    return documents.records(body, _of_hook)


def event_of(item: bytes) -> Event:
    """The event of one LogEvent. ``event_type`` is Okta's own, such as "user.session.start".

    Raises:
        ContractError: what does not fit, and where.
    """
    try:
        record = _read(item)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(str(error)) from None
    warns = record.severity in ("WARN", "ERROR")
    return Event(
        event_id=record.uuid,
        timestamp=record.published.astimezone(dt.UTC),
        event_type=record.event_type[:128],
        source_service="okta",
        severity=Severity.WARNING if warns else Severity.INFO,
        user_id=record.actor.name if record.actor else None,
        action_result=_result(record),
        client_ip=(record.client.ip_address or None) if record.client else None,
        resource=_resource(record),
        details=_details(record),
        logsource=LOG_SOURCE,
        record=Raw(item),
    )


def _of_hook(document: Mapping[str, Raw]) -> tuple[str, bytes] | None:
    if "data" not in document:
        return None
    inside = envelope.fields(bytes(document["data"]))
    if "events" not in inside:
        raise ContractError("Object missing required field `events` - at `$.data`")
    return "data.events", bytes(inside["events"])


def _result(record: Record) -> str | None:
    said = (record.outcome.result if record.outcome else None) or "UNKNOWN"
    return _RESULTS.get(said, said)


def _resource(record: Record) -> str | None:
    actor = record.actor.id if record.actor else None
    targets = record.target or []
    # A login names the user as its own target; what else it names says more.
    others = [one for one in targets if not actor or one.id != actor]
    return next((name for one in (*others, *targets) if (name := one.name)), None)


def _details(record: Record) -> dict[str, Any] | None:
    client = record.client or Client()
    place = client.geographical_context or Place()
    found = {
        "displayMessage": record.display_message,
        "reason": record.outcome.reason if record.outcome else None,
        "actorType": record.actor.type if record.actor else None,
        "city": place.city,
        "country": place.country,
        "userAgent": client.user_agent.raw_user_agent if client.user_agent else None,
        "targets": [name for one in record.target or [] if (name := one.name)],
    }
    return {name: value for name, value in found.items() if value} or None
