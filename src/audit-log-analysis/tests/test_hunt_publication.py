"""The findings of a hunt are published in groups. A group that is not confirmed is sent again."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from src.tests.archived_events import START_MS
from structlog.testing import capture_logs

from audit_analysis.hunt import publication
from auditflow.amqp import Message
from auditflow.contract import event, finding, identity
from auditflow.contract.event import Severity
from auditflow.contract.finding import EventRef, Evidence, Finding, RuleRef
from auditflow.errors import Unavailable


def make_finding(number: int) -> Finding:
    timestamp = event.from_epoch_ms(START_MS)
    rule = RuleRef(id="rule", title="Rule", revision="1", level="high")
    entity = {"user": f"user-{number}"}
    return Finding(
        finding_id=identity.finding_id(rule.id, entity, 0), rule=rule, entity=entity,
        severity=Severity.CRITICAL, bucket_start=timestamp, first_seen=timestamp,
        last_seen=timestamp, count=1, description="A finding.",
        evidence=Evidence(events=(EventRef(timestamp=timestamp, event_id="event"),)),
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five findings. A group has two."""
    monkeypatch.setattr(publication, "GROUP_SIZE", 2)
    file = tmp_path / "findings.ndjson"
    file.write_bytes(b"".join(finding.encode(make_finding(n)) + b"\n" for n in range(5)))
    return file


class Interrupted(Exception):
    pass


class Broker:
    """Confirms a publication, except the first ``failures``."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.published: list[str] = []

    def publish(self, messages: Sequence[Message], seconds: float) -> None:
        assert seconds == publication.CONFIRM_SECONDS
        if self.failures:
            self.failures -= 1
            raise Unavailable("rabbitmq", "no confirm")
        self.published += [str(message.message_id) for message in messages]


def nothing() -> None:
    pass


def test_each_finding_is_published_in_groups_and_counted(path: Path) -> None:
    broker, counts = Broker(failures=1), list[int]()
    with capture_logs():
        publication.publish_file(
            path, broker.publish, check=nothing, pause=nothing, on_stored=counts.append
        )
    assert broker.published == [str(make_finding(n).finding_id) for n in range(5)]
    assert counts == [2, 4, 5]


def test_the_number_of_attempts_is_limited(path: Path) -> None:
    broker, pauses = Broker(failures=1000), list[None]()
    with capture_logs(), pytest.raises(publication.NotStored):
        publication.publish_file(
            path, broker.publish, check=nothing, pause=lambda: pauses.append(None),
            on_stored=lambda _: None,
        )  # fmt: skip
    assert len(pauses) == publication.MAX_ATTEMPTS
    assert broker.published == []


def test_an_interruption_ends_the_publication_before_the_next_attempt(path: Path) -> None:
    broker, counts = Broker(failures=0), list[int]()

    def check() -> None:
        if counts:
            raise Interrupted

    with pytest.raises(Interrupted):
        publication.publish_file(
            path, broker.publish, check=check, pause=nothing, on_stored=counts.append
        )
    assert counts == [2]
