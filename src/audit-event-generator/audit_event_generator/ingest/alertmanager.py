"""What Prometheus' Alertmanager sends to a webhook: a group of alerts, firing or resolved.

The fields: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from audit_event_generator.ingest import documents
from auditflow.contract import bounds
from auditflow.contract.event import Event, LogSource, Severity, Timestamp
from auditflow.errors import ContractError

LOG_SOURCE: Final = LogSource(product="prometheus", service="alertmanager")
#: What the label severity says, here and where others chose the names.
_SEVERITIES: Final = {
    "page": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
    "ticket": Severity.WARNING,
    "warning": Severity.WARNING,
}
_NonEmpty = Annotated[str, Meta(min_length=1)]


class Alert(Struct, rename="camel", gc=False):
    """One of ``alerts``; the whole of it stays in ``Event.record``."""

    status: Literal["firing", "resolved"]
    fingerprint: _NonEmpty
    starts_at: Timestamp
    ends_at: Timestamp | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    generator_url: str | None = field(default=None, name="generatorURL")


_read = msgspec.json.Decoder(Alert).decode


def records(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The alerts in a body: those of a notification, an array, lines, or a single one.

    Raises:
        ContractError: it is none of them (``envelope.Malformed``: not JSON at all).
    """
    return documents.records(body, _of_notification)


def event_of(item: bytes) -> Event:
    """The event of one alert. A notification that is repeated gives the same event again.

    Raises:
        ContractError: what does not fit, and where.
    """
    try:
        alert = _read(item)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(str(error)) from None
    resolved = alert.status == "resolved"
    if resolved and alert.ends_at is None:
        raise ContractError("Object missing required field `endsAt`")
    began = alert.starts_at.astimezone(dt.UTC)
    ended = alert.ends_at.astimezone(dt.UTC) if resolved and alert.ends_at else None
    severity = _SEVERITIES.get(alert.labels.get("severity", ""), Severity.INFO)
    return Event(
        event_id=f"{alert.fingerprint}:{began.isoformat()}:{alert.status}",
        timestamp=ended or began,
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
        record=Raw(item),
    )


def _of_notification(document: Mapping[str, Raw]) -> tuple[str, bytes] | None:
    return ("alerts", bytes(document["alerts"])) if "alerts" in document else None
