"""Prometheus Alertmanager: webhook notifications, each with firing or resolved alerts.

Fields: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from audit_event_generator.ingest import json_records, raw_json
from audit_event_generator.ingest.timestamps import to_utc
from auditflow.contract.event import Event, LogSource, Severity, Timestamp
from auditflow.errors import ContractError

LOG_SOURCE: Final = LogSource(product="prometheus", service="alertmanager")
#: Values of the label ``severity``: those of this platform and common alternatives.
_SEVERITIES: Final = {
    "page": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
    "ticket": Severity.WARNING,
    "warning": Severity.WARNING,
}
_NonEmpty = Annotated[str, Meta(min_length=1)]


class Alert(Struct, rename="camel", gc=False):
    """An element of ``alerts``. ``Event.record`` keeps the complete element."""

    status: Literal["firing", "resolved"]
    fingerprint: _NonEmpty
    starts_at: Timestamp
    ends_at: Timestamp | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    generator_url: str | None = field(default=None, name="generatorURL")


_read = msgspec.json.Decoder(Alert).decode


def split(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the alerts of a notification, an array or lines, or a single alert.

    Raises:
        ContractError: the body has none of these shapes.
        raw_json.MalformedJSON: the body is not JSON.
    """
    return json_records.split(body, _unwrap_notification)


def to_event(record: bytes) -> Event:
    """Convert one alert. A repeated notification gives the same event.

    Raises:
        ContractError: the alert lacks a required field or a field has a wrong type.
    """
    alert = raw_json.read_record(_read, record)
    resolved = alert.status == "resolved"
    if resolved and alert.ends_at is None:
        raise ContractError("Object missing required field `endsAt`")
    started = to_utc(alert.starts_at)
    ended = to_utc(alert.ends_at) if resolved and alert.ends_at else None
    severity = _SEVERITIES.get(alert.labels.get("severity", ""), Severity.INFO)
    return Event(
        event_id=f"{alert.fingerprint}:{started.isoformat()}:{alert.status}",
        timestamp=ended or started,
        event_type=f"alert_{alert.status}",
        source_service="alertmanager",
        severity=Severity.INFO if resolved else severity,
        server_hostname=alert.labels.get("instance"),
        action_result="SUCCESS" if resolved else "FAILURE",
        resource=alert.labels.get("alertname"),
        details={
            "labels": alert.labels,
            "annotations": alert.annotations,
            "generatorURL": alert.generator_url,
        },
        logsource=LOG_SOURCE,
        record=Raw(record),
    )


def _unwrap_notification(document: Mapping[str, Raw]) -> tuple[str, bytes] | None:
    return ("alerts", bytes(document["alerts"])) if "alerts" in document else None
