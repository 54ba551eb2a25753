"""Every source by its name: how its records are found, read, and known when nobody names them.

The package registers each in the entry-point group ``auditflow.sources``, so that other programs
(``auditflow rules backtest``) can read logs of a known source without importing this service.
"""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from audit_event_generator.ingest import (
    alertmanager,
    auditd,
    cloudtrail,
    documents,
    envelope,
    gcp,
    github,
    kubernetes,
    native,
    ndjson,
    okta,
)
from audit_event_generator.ingest.batch import Adapter
from auditflow.contract.event import Event
from auditflow.errors import ContractError
from auditflow.http.problem import Fault

#: Cuts a body into records, each with the place where it stands.
Opener = Callable[[bytes], Iterator[tuple[str, bytes]]]


class Source(Struct, frozen=True, kw_only=True):
    """A kind of log. ``marks`` are fields that each of its JSON records has, and no other source's.

    Calling it with a log's bytes gives its events; a record that does not fit is a ``Fault``.
    """

    records: Opener
    event_of: Adapter
    marks: frozenset[str] = frozenset()

    def __call__(self, body: bytes) -> Iterator[Event | Fault]:
        """Read a log.

        Raises:
            ContractError: it is no log of this source at all.
        """
        for where, record in self.records(body):
            try:
                yield self.event_of(record)
            except ContractError as error:
                yield Fault(where, str(error))

    def recognises(self, body: bytes) -> bool:
        """Whether the first record is one of this source."""
        try:
            _, first = next(self.records(body), ("", b""))
            if self.marks:
                return self.marks <= envelope.fields(first).keys()
            self.event_of(first)
        except ContractError:
            return False
        return True


def _or_lines(opener: Opener) -> Opener:
    """Also a file with a record on each line, as the source itself writes or tools export it."""

    def records(body: bytes) -> Iterator[tuple[str, bytes]]:
        yield from ndjson.lines(body) if documents.are_lines(body) else opener(body)

    return records


NDJSON: Final = Source(
    records=ndjson.lines, event_of=native.of_line, marks=frozenset({"event_type", "timestamp"})
)
KUBERNETES: Final = Source(
    records=_or_lines(kubernetes.records),
    event_of=kubernetes.event_of,
    marks=frozenset({"auditID", "stage", "verb"}),
)
CLOUDTRAIL: Final = Source(
    records=_or_lines(cloudtrail.records),
    event_of=cloudtrail.event_of,
    marks=frozenset({"eventID", "eventTime", "awsRegion"}),
)
AUDITD: Final = Source(records=auditd.records, event_of=auditd.event_of)
GITHUB: Final = Source(
    records=github.records, event_of=github.event_of, marks=frozenset({"action", "@timestamp"})
)
OKTA: Final = Source(
    records=okta.records,
    event_of=okta.event_of,
    marks=frozenset({"uuid", "published", "eventType"}),
)
GCP: Final = Source(
    records=gcp.records, event_of=gcp.event_of, marks=frozenset({"protoPayload", "timestamp"})
)
ALERTMANAGER: Final = Source(
    records=alertmanager.records,
    event_of=alertmanager.event_of,
    marks=frozenset({"status", "fingerprint", "startsAt"}),
)
