"""The finding: one detection by a rule (JSON on the queue ``audit_alerts``), and its versions.

The analysis may publish several versions of a finding, each with more events. ``merge`` is
commutative, associative and idempotent. Therefore redelivery and reordering change nothing.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from auditflow.contract import bounds, event, event_hashes
from auditflow.contract.event import Identifier, Severity, Timestamp
from auditflow.errors import ContractError

#: Maximum number of events that a finding names. The earliest events are kept.
MAX_EVIDENCE: Final = 100
#: Maximum number of values of each kind of observable. The first in sorted order are kept.
MAX_OBSERVABLES: Final = 1_000
#: Maximum size of a finding, which may contain two complete events.
MAX_FINDING_BYTES: Final = 1024 * 1024
#: Maximum time of a finding after now. The analysis clamps timestamps from sources.
MAX_AHEAD: Final = dt.timedelta(days=1)
#: ``evidence.last_event`` contains an event two levels deep.
_MAX_DEPTH: Final = bounds.MAX_DEPTH + 2


EventHashes = Annotated[
    str, Meta(pattern="^([0-9a-f]{16})*$", max_length=16 * event_hashes.MAX_HASHES)
]
#: A value that identifies who or what took part in an event.
ObservableValue = Annotated[str, Meta(min_length=1, max_length=500)]
ObservableValues = Annotated[tuple[ObservableValue, ...], Meta(max_length=MAX_OBSERVABLES)]


class Observables(Struct, frozen=True, omit_defaults=True):
    """Users, hosts, addresses and resources that took part in the events of a finding.

    A producer sends those that the other fields do not contain, for example the distinct users
    that a rule of type value_count counted.
    """

    users: ObservableValues = ()
    hosts: ObservableValues = ()
    addresses: ObservableValues = ()
    resources: ObservableValues = ()


class RuleRef(Struct, frozen=True, omit_defaults=True):
    """The rule that a finding comes from. ``level`` and ``tags`` are Sigma's; tags name ATT&CK."""

    id: Identifier
    title: str
    revision: str
    level: str
    tags: tuple[str, ...] = ()
    runbook: str | None = None


class EventRef(Struct, frozen=True, order=True):
    """An event of a finding. References are ordered by time, then by identifier."""

    timestamp: Timestamp
    event_id: Identifier


class Evidence(Struct, frozen=True, omit_defaults=True):
    """Up to 100 event references, the earliest first, and the first and the last complete event.

    ``event_hashes`` is a set of events of the finding (see ``contract.event_hashes``). A producer
    sends it if the finding has more events than ``events`` can name. One version need not contain
    the events of earlier versions: the union over all versions is the set of all events.
    """

    events: Annotated[tuple[EventRef, ...], Meta(min_length=1, max_length=MAX_EVIDENCE)]
    first_event: Raw | UnsetType = UNSET
    last_event: Raw | UnsetType = UNSET
    event_hashes: EventHashes = ""


class Finding(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One detection by a rule, about one entity. ``count`` is the number of its events.

    ``approximate`` states that a memory limit was reached, so that there may be more events.
    ``clamped`` states that the last event, or the event that led to this version, had a timestamp
    more than five minutes ahead of the clock of the analysis, which used that limit instead.
    ``retro`` states that only a hunt in the archive made the finding, not live detection.
    ``actor``, ``client_ip``, ``resource`` and ``server_hostname`` are values of the last event.
    ``correlation_id`` identifies the request with the event that caused this version.
    """

    finding_id: UUID
    rule: RuleRef
    severity: Severity
    entity: dict[str, str]
    bucket_start: Timestamp
    first_seen: Timestamp
    last_seen: Timestamp
    count: Annotated[int, Meta(ge=1, le=2**53)]
    description: str
    evidence: Evidence
    actor: str | None = None
    client_ip: str | None = None
    resource: str | None = None
    server_hostname: str | None = None
    correlation_id: str | None = None
    environment: str = "local"
    approximate: bool = False
    clamped: bool = False
    retro: bool = False
    observables: Observables = Observables()


_decode = msgspec.json.Decoder(Finding).decode
_decode_anything = msgspec.json.Decoder().decode


def decode(raw: bytes, *, now: dt.datetime) -> Finding:
    """Read a finding.

    Raises:
        ContractError: what does not fit, and where.
    """
    bounds.check(raw, limit=MAX_FINDING_BYTES, max_depth=_MAX_DEPTH)
    try:
        finding = _decode(raw)
        first_event, last_event = finding.evidence.first_event, finding.evidence.last_event
        if first_event is not UNSET:
            _decode_anything(first_event)
        if last_event is not UNSET and last_event != first_event:
            _decode_anything(last_event)
    except RecursionError:
        raise ContractError(f"nested deeper than {_MAX_DEPTH} levels") from None
    except msgspec.MsgspecError as error:
        raise ContractError(str(error)) from None
    except (UnicodeDecodeError, ValueError) as error:
        raise ContractError(f"malformed JSON: {error}") from None
    if finding.bucket_start < event.EARLIEST - dt.timedelta(days=366):
        raise ContractError("bucket_start is before 1970 - at `$.bucket_start`")
    if finding.first_seen < event.EARLIEST:
        raise ContractError("first_seen is before 1970 - at `$.first_seen`")
    if max(finding.bucket_start, finding.last_seen) > now + MAX_AHEAD:
        raise ContractError("the finding is more than a day ahead - at `$.last_seen`")
    if finding.first_seen > finding.last_seen:
        raise ContractError("first_seen is after last_seen - at `$.first_seen`")
    return finding


def encode(finding: Finding) -> bytes:
    """Encode a finding as a message body."""
    return msgspec.json.encode(finding)


def merge(first: Finding, second: Finding) -> Finding:
    """Merge two versions of a finding. The order of the versions does not matter.

    Raises:
        ValueError: the two are not versions of the same finding.
    """
    if first.finding_id != second.finding_id:
        raise ValueError(f"{first.finding_id} and {second.finding_id} are two findings")
    if first == second:
        return first
    # The texts come from the version with the most events. The other fields are merged one by one.
    newest = max(first, second, key=_text_order)
    return msgspec.structs.replace(
        newest,
        severity=max(first.severity, second.severity, key=lambda severity: severity.rank),
        bucket_start=min(first.bucket_start, second.bucket_start),
        first_seen=min(first.first_seen, second.first_seen),
        last_seen=max(first.last_seen, second.last_seen),
        count=max(first.count, second.count),
        evidence=_merge_evidence(first.evidence, second.evidence),
        approximate=first.approximate or second.approximate,
        clamped=first.clamped or second.clamped,
        retro=first.retro and second.retro,
        observables=_merge_observables(first.observables, second.observables),
    )


def merge_all(findings: Iterable[Finding]) -> dict[UUID, Finding]:
    """One version of each finding, by identifier, in the order of their first versions."""
    merged: dict[UUID, Finding] = {}
    for finding in findings:
        earlier = merged.get(finding.finding_id)
        merged[finding.finding_id] = finding if earlier is None else merge(earlier, finding)
    return merged


def event_set(evidence: Evidence) -> str:
    """The hashes of all events that the evidence names or lists as hashes."""
    return event_hashes.union(
        evidence.event_hashes, event_hashes.of_events(ref.event_id for ref in evidence.events)
    )


def _merge_evidence(first: Evidence, second: Evidence) -> Evidence:
    events = sorted({*first.events, *second.events})
    # References beyond the maximum are dropped, so their hashes are kept from then on.
    hashes = ""
    if len(events) > MAX_EVIDENCE or first.event_hashes or second.event_hashes:
        hashes = event_hashes.union(event_set(first), event_set(second))
    versions = (first, second)
    first_events = [bytes(it.first_event) for it in versions if it.first_event is not UNSET]
    last_events = [bytes(it.last_event) for it in versions if it.last_event is not UNSET]
    return Evidence(
        events=tuple(events[:MAX_EVIDENCE]),
        first_event=Raw(min(first_events, key=_event_time)) if first_events else UNSET,
        last_event=Raw(max(last_events, key=_event_time)) if last_events else UNSET,
        event_hashes=hashes,
    )


def _merge_observables(first: Observables, second: Observables) -> Observables:
    if first == second:
        return first
    return Observables(
        *(
            tuple(sorted({*getattr(first, kind), *getattr(second, kind)})[:MAX_OBSERVABLES])
            for kind in Observables.__struct_fields__
        )
    )


class _When(Struct):
    timestamp: Timestamp


_decode_when = msgspec.json.Decoder(_When).decode


def _event_time(encoded: bytes) -> tuple[dt.datetime, bytes]:
    """The sort key of complete events: their own time, then their bytes."""
    try:
        return _decode_when(encoded).timestamp, encoded
    except msgspec.MsgspecError:
        return event.EARLIEST, encoded


def _text_order(finding: Finding) -> tuple[dt.datetime, int, bytes]:
    # A merge is associative only if it compares fields that it keeps. It does not keep the count of
    # the version that a description comes from. Therefore it compares the descriptions: if two
    # descriptions differ only in a number, the longer one has the greater number, and of two with
    # the same length, the one that is greater by code point.
    texts = (
        finding.description, finding.rule, finding.entity, finding.actor, finding.client_ip,
        finding.resource, finding.server_hostname, finding.correlation_id, finding.environment,
    )  # fmt: skip
    encoded = msgspec.json.encode(texts, order="deterministic")
    return finding.last_seen, len(finding.description), encoded
