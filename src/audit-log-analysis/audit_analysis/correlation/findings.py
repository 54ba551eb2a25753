"""From what a rule saw to the finding that says so."""

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from uuid import UUID

from msgspec import UNSET, Raw, Struct

from audit_analysis.sigma.rule import Rule
from audit_analysis.windows import Sighting, WindowSpec
from auditflow.contract import event, identity
from auditflow.contract.event import Event, Received
from auditflow.contract.finding import EventRef, Evidence, Finding

_UNKNOWN: Final = "unknown"


class Context(Struct, frozen=True):
    """What a finding takes from where it is made, not from what was seen."""

    environment: str
    correlation_id: str | None = None


def of_event(
    rule: Rule, entity: Mapping[str, str], seen: Received, moment: int, context: Context
) -> Finding:
    """What a rule about single events saw in one of them, at ``moment`` (ms)."""
    when = event.from_epoch_ms(moment)
    return _finding(
        rule,
        entity,
        finding_id=identity.finding_id(rule.ref.id, entity, seen.event.event_id),
        bucket_start=when,
        first_seen=when,
        last_seen=when,
        count=1,
        evidence=Evidence((EventRef(when, seen.event.event_id),), Raw(seen.raw), Raw(seen.raw)),
        last=seen.event,
        approximate=False,
        context=context,
    )


def of_sighting(
    rule: Rule, entity: Mapping[str, str], sighting: Sighting, seen: Event, context: Context
) -> Finding:
    """What a rule's window saw. ``seen`` speaks for the last event where that is not known."""
    assert rule.window is not None
    dedup = rule.window.dedup
    return _finding(
        rule,
        entity,
        finding_id=identity.finding_id(rule.ref.id, entity, sighting.bucket),
        bucket_start=event.from_epoch_ms(sighting.bucket * dedup),
        first_seen=event.from_epoch_ms(sighting.events[0][0]),
        last_seen=event.from_epoch_ms(sighting.last_event[0]),
        count=sighting.count,
        evidence=Evidence(
            tuple(EventRef(event.from_epoch_ms(moment), name) for moment, name in sighting.events),
            UNSET if sighting.first is None else Raw(sighting.first),
            UNSET if sighting.last is None else Raw(sighting.last),
        ),
        last=seen if sighting.last is None else event.decode(sighting.last),
        approximate=sighting.approximate,
        context=context,
    )


def window_key(rule: Rule, entity: Mapping[str, str]) -> str:
    """Which window an event of an entity belongs to. A rule that counts otherwise has new ones."""
    assert rule.window is not None
    return _window_key(rule.ref.id, rule.window, tuple(entity.items()))


@lru_cache(10_000)
def _window_key(rule_id: str, spec: WindowSpec, entity: tuple[tuple[str, str], ...]) -> str:
    counting = f"window {spec.kind} {spec.threshold} {spec.timespan} {spec.dedup}"
    return str(identity.finding_id(rule_id, dict(entity), counting))


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
    context: Context,
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
        description=_sentence(rule, entity, last, count),
        evidence=evidence,
        actor=last.user_id,
        client_ip=last.address,
        resource=last.object,
        server_hostname=last.server_hostname,
        correlation_id=context.correlation_id,
        environment=context.environment,
        approximate=approximate,
    )


def _sentence(rule: Rule, entity: Mapping[str, str], last: Event, count: int) -> str:
    words = {
        "count": str(count),
        "timespan": _span(rule.window) if rule.window else "",
        "user_id": last.user_id or _UNKNOWN,
        "server_hostname": last.server_hostname or _UNKNOWN,
        "client_ip": last.address or _UNKNOWN,
        "resource": last.object or _UNKNOWN,
        "event_type": last.event_type,
        **entity,
    }
    return rule.sentence.format_map(words)


def _span(window: WindowSpec) -> str:
    """A timespan as people say it."""
    seconds = window.timespan // 1000
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            number = seconds // size
            return f"{number} {unit}{'s' if number != 1 else ''}"
    raise AssertionError("every number of seconds is a multiple of one")
