"""Makes findings from matching events and from the summaries of windows."""

import datetime as dt
from binascii import b2a_base64
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct

from audit_analysis.sigma.rule import Rule
from audit_analysis.windows import BucketSummary, WindowSpec
from audit_analysis.windows.layout import HASHED_TAG
from auditflow.contract import event, event_hashes, identity
from auditflow.contract.event import Event, Received
from auditflow.contract.finding import EventRef, Evidence, Finding, Observables

_decode_anything = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_UNKNOWN: Final = "unknown"
#: The kind of observables for each field that a value_count may count.
_OBSERVABLES: Final = {
    "user_id": "users",
    "actor": "users",
    "server_hostname": "hosts",
    "client_ip": "addresses",
    "resource": "resources",
    "TargetFilename": "resources",
}
#: Longer values are not observables (characters).
_MAX_OBSERVABLE: Final = 500


class Context(Struct, frozen=True):
    """The parts of a finding that do not depend on events: where and for which request."""

    environment: str
    correlation_id: str | None = None


def from_event(
    rule: Rule,
    entity: Mapping[str, str],
    received: Received,
    timestamp_ms: int,
    context: Context,
    *,
    clamped: bool = False,
) -> Finding:
    """The finding of a rule without a window about one event at ``timestamp_ms``.

    ``clamped`` states that ``timestamp_ms`` is a limit and not the timestamp of the event.
    """
    timestamp = event.from_epoch_ms(timestamp_ms)
    event_id = received.event.event_id
    complete = _complete_event(received.raw)
    return _finding(
        rule,
        entity,
        finding_id=identity.finding_id(rule.ref.id, entity, event_id),
        bucket_start=timestamp,
        first_seen=timestamp,
        last_seen=timestamp,
        count=1,
        evidence=Evidence((EventRef(timestamp, event_id),), complete, complete),
        last=received.event,
        approximate=False,
        clamped=clamped,
        context=context,
    )


def from_summary(
    rule: Rule,
    entity: Mapping[str, str],
    summary: BucketSummary,
    trigger: Event,
    context: Context,
    *,
    clamped: bool = False,
) -> Finding:
    """The finding of a window's bucket.

    ``trigger`` is the event that changed the bucket. Its fields describe the finding if the last
    event of the bucket is not stored. ``clamped`` states that its timestamp was clamped.
    """
    assert rule.window is not None
    dedup = rule.window.dedup
    last = trigger if summary.last is None else event.decode(summary.last)
    if summary.last is not None:
        clamped = clamped or event.epoch_ms(last.timestamp) > summary.last_event[0]
    return _finding(
        rule,
        entity,
        finding_id=identity.finding_id(rule.ref.id, entity, summary.bucket),
        bucket_start=event.from_epoch_ms(summary.bucket * dedup),
        first_seen=event.from_epoch_ms(summary.events[0][0]),
        last_seen=event.from_epoch_ms(summary.last_event[0]),
        count=summary.count,
        evidence=Evidence(
            tuple(
                EventRef(event.from_epoch_ms(timestamp_ms), event_id)
                for timestamp_ms, event_id in summary.events
            ),
            UNSET if summary.first is None else _complete_event(summary.first),
            UNSET if summary.last is None else _complete_event(summary.last),
            event_hashes.of_events(summary.unnamed) if summary.unnamed else "",
        ),
        last=last,
        approximate=summary.approximate,
        clamped=clamped,
        context=context,
        observables=_observables(rule, summary),
    )


def _complete_event(raw: bytes) -> Raw:
    """An event as evidence.

    Fields that the contract does not define are not checked when the event is decoded. They may
    contain a number that no receiver of the finding can decode, for example 1e999. Such an event
    is represented without these fields.
    """
    try:
        _decode_anything(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Raw(event.encode(event.decode(raw)))
    return Raw(raw)


def window_key(rule: Rule, entity: Mapping[str, str]) -> str:
    """The key of an entity's window. A rule that changes what it counts gets new windows."""
    assert rule.window is not None
    return _window_key(rule.window.pool or rule.ref.id, tuple(entity.items()))


@lru_cache(10_000)
def _window_key(pool: str, entity: tuple[tuple[str, str], ...]) -> str:
    keyed = _keyed_hash(pool).copy()
    keyed.update(_encode(sorted(entity) if len(entity) > 1 else entity))
    return b2a_base64(keyed.digest(), newline=False).decode()


@lru_cache(10_000)
def _keyed_hash(pool: str) -> blake2b:
    """The hash of the keys of a rule's windows. A copy costs less than a new one."""
    return blake2b(digest_size=12, key=pool.encode())


def _finding(
    rule: Rule,
    entity: Mapping[str, str],
    *,
    finding_id: UUID,
    bucket_start: dt.datetime,
    first_seen: dt.datetime,
    last_seen: dt.datetime,
    count: int,
    evidence: Evidence,
    last: Event,
    approximate: bool,
    clamped: bool,
    context: Context,
    observables: Observables | None = None,
) -> Finding:
    return Finding(
        finding_id=finding_id,
        rule=rule.ref,
        severity=rule.severity,
        entity=dict(entity),
        bucket_start=bucket_start,
        first_seen=first_seen,
        last_seen=last_seen,
        count=count,
        description=_description(rule, entity, last, count),
        evidence=evidence,
        actor=last.user_id,
        client_ip=last.address,
        resource=last.object,
        server_hostname=last.server_hostname,
        correlation_id=context.correlation_id,
        environment=context.environment,
        approximate=approximate,
        clamped=clamped,
        observables=observables or Observables(),
    )


def _observables(rule: Rule, summary: BucketSummary) -> Observables | None:
    """The values that a value_count counted, if its field has users, hosts or the like."""
    kind = _OBSERVABLES.get(rule.counted) if rule.counted else None
    if kind is None:
        return None
    values = {
        tag
        for tag in summary.tags
        if len(tag) <= _MAX_OBSERVABLE and not tag.startswith(HASHED_TAG)
    }
    return Observables(**{kind: tuple(sorted(values))})


def _description(rule: Rule, entity: Mapping[str, str], last: Event, count: int) -> str:
    values = {
        "count": str(count),
        "timespan": _duration(rule.window) if rule.window else "",
        "user_id": last.user_id or _UNKNOWN,
        "server_hostname": last.server_hostname or _UNKNOWN,
        "client_ip": last.address or _UNKNOWN,
        "resource": last.object or _UNKNOWN,
        "event_type": last.event_type,
        **entity,
    }
    return rule.sentence.format_map(values)


def _duration(window: WindowSpec) -> str:
    """The timespan of a window in its largest whole unit, such as "5 minutes"."""
    seconds = window.timespan // 1000
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            number = seconds // size
            return f"{number} {unit}{'s' if number != 1 else ''}"
    raise AssertionError("every number of seconds is a multiple of one second")
