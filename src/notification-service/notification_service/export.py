"""Exports of alerts: NDJSON, CSV and STIX 2.1. Each is a stream, so its size does not matter."""

import csv
import datetime as dt
import io
import ipaddress
import uuid
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec

from auditflow.contract import identity
from auditflow.contract.alert import AlertSummary
from notification_service import techniques

_decode = msgspec.json.Decoder(AlertSummary).decode


class Format(StrEnum):
    """The formats of an export."""

    NDJSON = "ndjson"
    CSV = "csv"
    STIX = "stix"


CONTENT_TYPES: Final = {
    Format.NDJSON: "application/x-ndjson",
    Format.CSV: "text/csv; charset=utf-8",
    Format.STIX: "application/stix+json;version=2.1",
}
#: The columns of a CSV file.
COLUMNS: Final = (
    *(name for name in AlertSummary.__struct_fields__ if name not in ("rule", "entity")),
    *("rule_id", "rule_title", "rule_level", "rule_tags", "entity"),
)
#: Characters at which a spreadsheet takes a text for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: The namespace of identifiers of STIX cyber-observable objects, defined by STIX 2.1.
_STIX_OBSERVABLES: Final = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
_STIX_ALERTS: Final = uuid.uuid5(identity.NAMESPACE, "stix")
_MAX_STIX_COUNT: Final = 999_999_999


def encode(alerts: Iterable[str], form: Format) -> Iterator[bytes]:
    """Encode alerts, each an encoded ``AlertSummary``, as parts of a file."""
    if form is Format.NDJSON:
        return (f"{text}\n".encode() for text in alerts)
    decoded = (_decode(text) for text in alerts)
    return _csv(decoded) if form is Format.CSV else _stix(decoded)


def _csv(alerts: Iterable[AlertSummary]) -> Iterator[bytes]:
    yield _line(COLUMNS)
    for alert in alerts:
        values = {
            **msgspec.to_builtins(alert),
            "rule_id": alert.rule.id,
            "rule_title": alert.rule.title,
            "rule_level": alert.rule.level,
            "rule_tags": " ".join(alert.rule.tags),
            "entity": msgspec.json.encode(alert.entity).decode(),
        }
        yield _line([_cell(values[name]) for name in COLUMNS])


def _line(values: Iterable[Any]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)
    return buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value  # a spreadsheet shows it as text and does not execute it
    return value


def _stix(alerts: Iterable[AlertSummary]) -> Iterator[bytes]:
    """A bundle: for each alert an incident and, if it has observables, its observed data."""
    yield b'{"type":"bundle","id":"bundle--%s","objects":[' % str(uuid.uuid4()).encode()
    separator = b""
    seen: set[str] = set()
    for alert in alerts:
        for item in _stix_objects(alert):
            if item["id"] in seen:
                continue
            if not item["id"].startswith(("incident--", "observed-data--", "relationship--")):
                seen.add(item["id"])  # alerts share observables
            yield separator + msgspec.json.encode(item)
            separator = b","
    yield b"]}"


def _stix_objects(alert: AlertSummary) -> Iterator[dict[str, Any]]:
    created, modified = _stix_time(alert.opened_at), _stix_time(alert.updated_at)
    common = {"spec_version": "2.1", "created": created, "modified": modified}
    incident: dict[str, Any] = {
        "type": "incident",
        "id": _stix_id("incident", alert),
        **common,
        "name": alert.title,
        "description": alert.description,
        "labels": [f"level:{alert.level}", f"status:{alert.status}"]
        + ([f"verdict:{alert.verdict}"] if alert.verdict else []),
    }
    if named := techniques.named_by(alert.rule.tags):
        incident["external_references"] = [
            {"source_name": "mitre-attack", "external_id": technique} for technique in named
        ]
    yield incident
    observables = list(_stix_observables(alert))
    if not observables:
        return
    yield from observables
    observed = {
        "type": "observed-data",
        "id": _stix_id("observed-data", alert),
        **common,
        "first_observed": _stix_time(alert.first_seen),
        "last_observed": _stix_time(alert.last_seen),
        "number_observed": min(max(alert.count, 1), _MAX_STIX_COUNT),
        "object_refs": [item["id"] for item in observables],
    }
    yield observed
    yield {
        "type": "relationship",
        "id": _stix_id("relationship", alert),
        **common,
        "relationship_type": "related-to",
        "source_ref": incident["id"],
        "target_ref": observed["id"],
    }


def _stix_observables(alert: AlertSummary) -> Iterator[dict[str, Any]]:
    if alert.actor:
        yield _observable("user-account", {"account_login": alert.actor})
    if alert.client_ip:
        try:
            version = ipaddress.ip_address(alert.client_ip).version
        except ValueError:
            yield _observable("domain-name", {"value": alert.client_ip})
        else:
            yield _observable(f"ipv{version}-addr", {"value": alert.client_ip})


def _observable(kind: str, properties: dict[str, str]) -> dict[str, Any]:
    name = msgspec.json.encode(properties, order="deterministic").decode()
    identifier = f"{kind}--{uuid.uuid5(_STIX_OBSERVABLES, name)}"
    return {"type": kind, "spec_version": "2.1", "id": identifier, **properties}


def _stix_id(kind: str, alert: AlertSummary) -> str:
    return f"{kind}--{uuid.uuid5(_STIX_ALERTS, f'{kind} {alert.alert_id}')}"


def _stix_time(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
