"""The audit log of GitHub: as streamed (lines), exported (lines) or asked of its API (an array).

Streaming: https://docs.github.com/en/enterprise-cloud@latest/admin/monitoring-activity-in-your-enterprise/reviewing-audit-logs-for-your-enterprise/streaming-the-audit-log-for-your-enterprise
The API: https://docs.github.com/en/enterprise-cloud@latest/rest/orgs/orgs#get-the-audit-log-for-an-organization
The actions: https://docs.github.com/en/organizations/keeping-your-organization-secure/managing-security-settings-for-your-organization/audit-log-events-for-your-organization
Webhooks have another shape: ``github_webhook``.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import documents
from auditflow.contract import bounds, event, identity
from auditflow.contract.event import Event, LogSource
from auditflow.errors import ContractError

#: As in SigmaHQ's rules under rules/application/github/audit.
LOG_SOURCE: Final = LogSource(product="github", service="audit")
#: Seconds since 1970 are below this for three thousand years, milliseconds are above it since 1973.
_MILLISECONDS_FROM: Final = 10**11
_Moment = Annotated[int, Meta(ge=0, lt=10**14)]


class Location(Struct, gc=False):
    """actor_location."""

    country_code: str | None = None


class Record(Struct, gc=False):
    """The fields that are read here; the others stay in ``Event.record``."""

    action: Annotated[str, Meta(min_length=1)]
    timestamp: _Moment | None = msgspec.field(name="@timestamp", default=None)
    created_at: _Moment | None = None
    document_id: str | None = msgspec.field(name="_document_id", default=None)
    actor: str | None = None
    actor_ip: str | None = None
    actor_location: Location | None = None
    business: str | None = None
    org: Any = None
    repo: str | None = None
    user: str | None = None
    team: str | None = None
    user_agent: str | None = None
    operation_type: str | None = None
    programmatic_access_type: str | None = None
    transport_protocol_name: str | None = None
    visibility: str | None = None
    previous_visibility: str | None = None
    permission: str | None = None


_read = msgspec.json.Decoder(Record).decode


def records(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The entries in a body: an array, lines, or a single one.

    Raises:
        ContractError: it is none of them (``envelope.Malformed``: not JSON at all).
    """
    return documents.records(body)


def event_of(item: bytes) -> Event:
    """The event of one entry. ``event_type`` is the action, such as "repo.create".

    An entry without ``_document_id`` is named by its bytes.

    Raises:
        ContractError: what does not fit, and where.
    """
    try:
        record = _read(item)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(str(error)) from None
    moment = record.timestamp if record.timestamp is not None else record.created_at
    if moment is None:
        raise ContractError("Object missing required field `@timestamp`")
    return Event(
        event_id=record.document_id or identity.record_id(item),
        timestamp=_time(moment),
        event_type=record.action[:128],
        source_service="github",
        user_id=record.actor or None,
        action_result="FAILURE" if "failed" in record.action else "SUCCESS",
        client_ip=record.actor_ip or None,
        resource=_resource(record),
        details=_details(record),
        logsource=LOG_SOURCE,
        record=Raw(item),
    )


def _time(moment: int) -> dt.datetime:
    return event.from_epoch_ms(moment if moment >= _MILLISECONDS_FROM else moment * 1000)


def _organisation(record: Record) -> str | None:
    # An entry about a whole enterprise lists its organisations.
    org = record.org[0] if isinstance(record.org, list) and record.org else record.org
    return org if isinstance(org, str) and org else None


def _resource(record: Record) -> str | None:
    names = (record.repo, record.team, record.user, _organisation(record), record.business)
    return next((name for name in names if name), None)


def _details(record: Record) -> dict[str, Any] | None:
    location = record.actor_location
    found = {
        "org": _organisation(record),
        "business": record.business,
        "repo": record.repo,
        "user": record.user,
        "team": record.team,
        "country": location.country_code if location else None,
        "userAgent": record.user_agent,
        "operationType": record.operation_type,
        "accessType": record.programmatic_access_type,
        "protocol": record.transport_protocol_name,
        "visibility": record.visibility,
        "previousVisibility": record.previous_visibility,
        "permission": record.permission,
    }
    return {name: value for name, value in found.items() if value} or None
