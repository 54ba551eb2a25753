"""The result of an ingest request, for its metric and its line in the log."""

from collections.abc import MutableMapping
from typing import Any, Final

from msgspec import Struct

from audit_event_generator.metrics import Metrics
from auditflow.http.middleware import Listener, RequestSummary
from auditflow.telemetry.metrics import exemplar

_KEY: Final = "auditflow.outcome"


class RequestOutcome(Struct):
    """The number of events that a request delivered. ``failed`` states why none was delivered."""

    source: str
    accepted: int = 0
    refused: int = 0
    failed: str | None = None
    #: The name of the source that the token belongs to.
    token_source: str | None = None

    def log_fields(self) -> dict[str, str | int]:
        """The fields for the request's line in the log."""
        fields: dict[str, str | int] = {
            "source": self.source,
            "accepted": self.accepted,
            "refused": self.refused,
        }
        if self.token_source:
            fields["token_source"] = self.token_source
        if self.failed:
            fields["failed"] = self.failed
        return fields


def new_outcome(environ: MutableMapping[str, Any], source: str) -> RequestOutcome:
    """Create the outcome of the current request."""
    outcome = environ[_KEY] = RequestOutcome(source)
    return outcome


def listener(metrics: Metrics) -> Listener:
    """Return a listener that observes the duration of ingest requests by source."""

    def observe(summary: RequestSummary) -> None:
        outcome: RequestOutcome | None = summary.context.get(_KEY)
        if outcome is None:
            return
        code = f"{summary.status // 100}xx"
        metrics.request_seconds.labels(outcome.source, code).observe(summary.seconds, exemplar())
        summary.add_log_fields(**outcome.log_fields())

    return observe
