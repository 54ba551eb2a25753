"""The finding: what a rule saw once (JSON on the queue ``audit_alerts``), and how versions merge.

The analysis may publish a finding many times, each time knowing more. ``merge`` is commutative,
associative and idempotent, so redelivery and reordering change nothing.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from auditflow.contract import bounds, event
from auditflow.contract.event import Identifier, Severity, Timestamp
from auditflow.errors import ContractError

#: How many events a finding names; the first ones are kept.
MAX_EVIDENCE: Final = 100
#: Two whole events, and what surrounds them.
MAX_FINDING_BYTES: Final = 1024 * 1024
#: Findings never start later than this after now: the analysis clamps the clocks of sources.
MAX_AHEAD: Final = dt.timedelta(days=1)
#: An event of the deepest kind stands two levels down, under ``evidence.last_event``.
_MAX_DEPTH: Final = bounds.MAX_DEPTH + 2


class RuleRef(Struct, frozen=True, omit_defaults=True):
    """The rule that a finding comes from. ``level`` and ``tags`` are Sigma's; tags name ATT&CK."""

    id: Identifier
    title: str
    revision: str
    level: str
    tags: tuple[str, ...] = ()
    runbook: str | None = None


class EventRef(Struct, frozen=True, order=True):
    """An event that a finding rests on. Orders by time, then by identifier."""

    timestamp: Timestamp
    event_id: Identifier


class Evidence(Struct, frozen=True, omit_defaults=True):
    """Up to 100 events by name, earliest first; the first and the last whole where known."""

    events: Annotated[tuple[EventRef, ...], Meta(min_length=1, max_length=MAX_EVIDENCE)]
    first_event: Raw | UnsetType = UNSET
    last_event: Raw | UnsetType = UNSET


class Finding(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a rule saw once about one entity. ``count`` is the number of events in it.

    ``approximate`` says that a bound on memory was reached: there may have been more.
    ``actor``, ``client_ip``, ``resource`` and ``server_hostname`` are those of the last event;
    ``correlation_id`` follows the request that brought the event which made this version.
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
        for whole in (finding.evidence.first_event, finding.evidence.last_event):
            if whole is not UNSET:
                _decode_anything(whole)
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
    """The finding as it travels."""
    return msgspec.json.encode(finding)


def merge(one: Finding, other: Finding) -> Finding:
    """What two versions of a finding say together; which came first does not matter.

    Raises:
        ValueError: the two are not versions of the same finding.
    """
    if one.finding_id != other.finding_id:
        raise ValueError(f"{one.finding_id} and {other.finding_id} are two findings")
    # The words are those of the version that knows most; the rest is joined part by part.
    newest = max(one, other, key=_knowledge)
    return msgspec.structs.replace(
        newest,
        severity=max(one.severity, other.severity, key=lambda severity: severity.rank),
        bucket_start=min(one.bucket_start, other.bucket_start),
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
        count=max(one.count, other.count),
        evidence=_join(one, other),
        approximate=one.approximate or other.approximate,
    )


def merge_all(findings: Iterable[Finding]) -> dict[UUID, Finding]:
    """One version for each finding, by identifier, in the order in which they first appear."""
    merged: dict[UUID, Finding] = {}
    for finding in findings:
        known = merged.get(finding.finding_id)
        merged[finding.finding_id] = finding if known is None else merge(known, finding)
    return merged


def _join(one: Finding, other: Finding) -> Evidence:
    events = sorted({*one.evidence.events, *other.evidence.events})[:MAX_EVIDENCE]
    both = (one.evidence, other.evidence)
    first = [bytes(it.first_event) for it in both if it.first_event is not UNSET]
    last = [bytes(it.last_event) for it in both if it.last_event is not UNSET]
    return Evidence(
        events=tuple(events),
        first_event=Raw(min(first, key=_moment)) if first else UNSET,
        last_event=Raw(max(last, key=_moment)) if last else UNSET,
    )


class _When(Struct):
    timestamp: Timestamp


_decode_when = msgspec.json.Decoder(_When).decode


def _moment(whole: bytes) -> tuple[dt.datetime, bytes]:
    """The order of whole events: by their own time, since a version may know none of its own."""
    try:
        return _decode_when(whole).timestamp, whole
    except msgspec.MsgspecError:
        return event.EARLIEST, whole


def _knowledge(finding: Finding) -> tuple[dt.datetime, int, bytes]:
    # Only what a merge keeps may be compared, or merging would not be associative: the count that
    # belongs to the words is lost in it. But of two sentences that differ by a number the longer,
    # or else the later by code point, holds the greater number.
    words = (
        finding.description, finding.rule, finding.entity, finding.actor, finding.client_ip,
        finding.resource, finding.server_hostname, finding.correlation_id, finding.environment,
    )  # fmt: skip
    encoded = msgspec.json.encode(words, order="deterministic")
    return finding.last_seen, len(finding.description), encoded
