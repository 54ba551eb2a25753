"""The handler of messages with findings, without servers."""

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from auditflow.amqp import Delivery
from auditflow.contract import finding as findings
from auditflow.contract import finding_message
from auditflow.contract.finding import Finding
from notification_service.aggregation import Changes
from notification_service.inbox import MAX_TRANSACTION_FINDINGS, Inbox
from notification_service.metrics import Metrics


def test_a_transaction_stores_a_limited_number_of_findings(make_finding: Any) -> None:
    stored: list[list[Finding]] = []

    def store(part: Sequence[Finding]) -> Changes:
        stored.append(list(part))
        return Changes()

    inbox = Inbox(store, Metrics(CollectorRegistry()))
    sent = [
        make_finding(user=f"user-{number}") for number in range(2 * MAX_TRANSACTION_FINDINGS + 1)
    ]
    message = finding_message.encode([(findings.encode(finding), {}) for finding in sent])

    assert inbox.store(inbox.decode([Delivery(message)])) == []

    assert [len(part) for part in stored] == [MAX_TRANSACTION_FINDINGS, MAX_TRANSACTION_FINDINGS, 1]
    assert [finding.finding_id for part in stored for finding in part] == [
        finding.finding_id for finding in sent
    ]
