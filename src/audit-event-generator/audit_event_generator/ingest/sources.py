"""The table of sources. Routes, metric labels, OpenAPI and other programs derive from it.

The package registers the table in the entry-point group ``auditflow.sources``, so that other
programs (``auditflow rules backtest``) can read these logs without importing this service.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from audit_event_generator.ingest import (
    alertmanager,
    auditd,
    cloudtrail,
    gcp,
    github,
    github_webhook,
    kubernetes,
    native,
    ndjson,
    okta,
    raw_json,
)
from audit_event_generator.ingest.batch import Adapter
from auditflow.contract.event import Event, LogSource
from auditflow.errors import ContractError
from auditflow.http.problem import Fault

#: Divides a body into records. Yields the location and the bytes of each record.
Splitter = Callable[[bytes], Iterator[tuple[str, bytes]]]


class Source(Struct, frozen=True, kw_only=True):
    """One kind of log that ``POST /ingest/<name>`` accepts.

    Attributes:
        name: the last part of the route and of the routing key, and the metric label.
        title: the name that people read.
        accepts: what a request's body may be.
        split: divides a body into records.
        to_event: converts one record to an event.
        identifying_fields: members that each JSON record has, and that no other source has
            together. Empty if the records are not JSON.
        log_sources: the ``logsource`` values of its events; empty if the sender chooses them.
    """

    name: str
    title: str
    accepts: str
    split: Splitter
    to_event: Adapter
    identifying_fields: frozenset[str] = frozenset()
    log_sources: tuple[LogSource, ...] = ()

    def __call__(self, body: bytes) -> Iterator[Event | Fault]:
        """Convert a log. Yields a ``Fault`` for each record that cannot become an event.

        Raises:
            ContractError: the body is not a log of this source.
        """
        for where, record in self.split(body):
            try:
                yield self.to_event(record)
            except ContractError as error:
                yield Fault(where, str(error))

    def recognises(self, body: bytes) -> bool:
        """Whether the first record of a log is a record of this source."""
        try:
            _, first = next(self.split(body), ("", b""))
            if self.identifying_fields:
                return self.identifying_fields <= raw_json.read_object(first).keys()
            self.to_event(first)
        except ContractError:
            return False
        return True


def _or_lines(split: Splitter) -> Splitter:
    """Also accept one record per line, as the source itself writes or tools export it."""

    def split_any(body: bytes) -> Iterator[tuple[str, bytes]]:
        yield from ndjson.split_lines(body) if ndjson.is_ndjson(body) else split(body)

    return split_any


_TABLE: Final = (
    Source(
        name="ndjson",
        title="AuditFlow events",
        accepts="one event per line, with at least event_type and timestamp",
        split=ndjson.split_lines,
        to_event=native.line_to_event,
        identifying_fields=frozenset({"event_type", "timestamp"}),
    ),
    Source(
        name="kubernetes",
        title="Kubernetes audit log",
        accepts="an EventList or an Event of audit.k8s.io/v1, or one Event per line",
        split=_or_lines(kubernetes.split),
        to_event=kubernetes.to_event,
        identifying_fields=frozenset({"auditID", "stage", "verb"}),
        log_sources=(kubernetes.LOG_SOURCE,),
    ),
    Source(
        name="cloudtrail",
        title="AWS CloudTrail",
        accepts="a CloudTrail file, or one record per line",
        split=_or_lines(cloudtrail.split),
        to_event=cloudtrail.to_event,
        identifying_fields=frozenset({"eventID", "eventTime", "awsRegion"}),
        log_sources=(cloudtrail.LOG_SOURCE,),
    ),
    Source(
        name="auditd",
        title="Linux audit log",
        accepts="the lines that auditd writes",
        split=auditd.split,
        to_event=auditd.to_event,
        log_sources=(auditd.LOG_SOURCE,),
    ),
    Source(
        name="github",
        title="GitHub audit log and webhooks",
        accepts="an array of audit log entries, one entry per line, or a webhook delivery",
        split=github.split,
        to_event=github.to_event,
        identifying_fields=frozenset({"action", "@timestamp"}),
        log_sources=(github.LOG_SOURCE, github_webhook.LOG_SOURCE),
    ),
    Source(
        name="okta",
        title="Okta System Log",
        accepts="an array of LogEvents, one LogEvent per line, or an event hook",
        split=okta.split,
        to_event=okta.to_event,
        identifying_fields=frozenset({"uuid", "published", "eventType"}),
        log_sources=(okta.LOG_SOURCE,),
    ),
    Source(
        name="gcp",
        title="Google Cloud Audit Logs",
        accepts="an array of LogEntries, one LogEntry per line, or a Pub/Sub push",
        split=gcp.split,
        to_event=gcp.to_event,
        identifying_fields=frozenset({"protoPayload", "timestamp"}),
        log_sources=(gcp.LOG_SOURCE,),
    ),
    Source(
        name="alertmanager",
        title="Prometheus Alertmanager",
        accepts="a webhook notification, an array of alerts, or one alert per line",
        split=alertmanager.split,
        to_event=alertmanager.to_event,
        identifying_fields=frozenset({"status", "fingerprint", "startsAt"}),
        log_sources=(alertmanager.LOG_SOURCE,),
    ),
)

#: Every source by its name.
SOURCES: Final[Mapping[str, Source]] = {source.name: source for source in _TABLE}
#: The label of events that the synthetic stream publishes.
SYNTHETIC: Final = "synthetic"
#: The label of events that ``POST /generate_event`` accepts.
API: Final = "api"
#: The values of the metric label ``source``, which are also the last part of the routing key.
LABELS: Final = (SYNTHETIC, API, *SOURCES)
