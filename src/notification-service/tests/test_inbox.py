"""The handler of messages with findings, without servers."""

import threading
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry

from auditflow.amqp import Delivery
from auditflow.contract import finding as findings
from auditflow.contract import finding_message
from auditflow.contract.finding import Finding
from auditflow.errors import Unavailable
from notification_service.aggregation import Changes
from notification_service.inbox import BUSY_FINDINGS, MAX_TRANSACTION_FINDINGS, Inbox
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


def test_parts_without_common_findings_are_stored_in_parallel(make_finding: Any) -> None:
    both_stored = threading.Barrier(2)

    def store(part: Sequence[Finding]) -> Changes:
        both_stored.wait(60)
        return Changes()

    inbox = Inbox(store, Metrics(CollectorRegistry()), parallel=2)
    sent = [make_finding(user=f"user-{number}") for number in range(2 * MAX_TRANSACTION_FINDINGS)]
    message = finding_message.encode([(findings.encode(finding), {}) for finding in sent])

    assert inbox.store(inbox.decode([Delivery(message)])) == []


@pytest.mark.parametrize(("number", "parts"), [(240, [120, 120]), (199, [100, 99]), (198, [198])])
def test_a_batch_is_divided_for_parallel_transactions_that_are_not_too_small(
    make_finding: Any, number: int, parts: list[int]
) -> None:
    stored: list[int] = []

    def store(part: Sequence[Finding]) -> Changes:
        stored.append(len(part))
        return Changes()

    inbox = Inbox(store, Metrics(CollectorRegistry()), parallel=2)
    sent = [make_finding(user=f"user-{index}") for index in range(number)]
    message = finding_message.encode([(findings.encode(finding), {}) for finding in sent])

    assert inbox.store(inbox.decode([Delivery(message)])) == []

    assert sorted(stored, reverse=True) == parts


@pytest.mark.parametrize("number", [BUSY_FINDINGS - 1, BUSY_FINDINGS])
def test_a_large_batch_shows_that_many_findings_arrive(make_finding: Any, number: int) -> None:
    inbox = Inbox(lambda part: Changes(), Metrics(CollectorRegistry()))
    sent = [make_finding(user=f"user-{index}") for index in range(number)]
    message = finding_message.encode([(findings.encode(finding), {}) for finding in sent])
    assert not inbox.is_busy()

    inbox.store(inbox.decode([Delivery(message)]))

    assert inbox.is_busy() == (number >= BUSY_FINDINGS)


def test_many_findings_arrive_for_a_limited_time(
    make_finding: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notification_service.inbox.BUSY_SECONDS", 0.0)
    inbox = Inbox(lambda part: Changes(), Metrics(CollectorRegistry()))
    sent = [make_finding(user=f"user-{index}") for index in range(BUSY_FINDINGS)]
    inbox.store(inbox.decode([Delivery(findings.encode(finding)) for finding in sent]))
    assert not inbox.is_busy()


def test_parts_of_the_same_entity_are_stored_in_order(make_finding: Any) -> None:
    stored: list[list[Finding]] = []
    running = threading.Lock()

    def store(part: Sequence[Finding]) -> Changes:
        assert running.acquire(blocking=False), "two transactions for the same alert"
        stored.append(list(part))
        running.release()
        return Changes()

    inbox = Inbox(store, Metrics(CollectorRegistry()), parallel=2)
    finding = make_finding(user="alice")
    sent = [
        structs.replace(finding, finding_id=uuid.uuid4())
        for _ in range(3 * MAX_TRANSACTION_FINDINGS)
    ]
    message = finding_message.encode([(findings.encode(finding), {}) for finding in sent])

    assert inbox.store(inbox.decode([Delivery(message)])) == []

    assert [finding.finding_id for part in stored for finding in part] == [
        finding.finding_id for finding in sent
    ]


def test_a_failed_part_fails_the_batch_after_the_parts_in_progress(make_finding: Any) -> None:
    second_begun, first_failed = threading.Event(), threading.Event()
    completed: list[int] = []

    def store(part: Sequence[Finding]) -> Changes:
        if part[0].entity["user_id"] == "user-0":
            second_begun.wait(60)
            first_failed.set()
            raise Unavailable("postgresql", "down")
        second_begun.set()
        first_failed.wait(60)
        completed.append(len(part))
        return Changes()

    inbox = Inbox(store, Metrics(CollectorRegistry()), parallel=2)
    sent = [make_finding(user=f"user-{number}") for number in range(3 * MAX_TRANSACTION_FINDINGS)]
    message = finding_message.encode([(findings.encode(finding), {}) for finding in sent])

    with pytest.raises(Unavailable):
        inbox.store(inbox.decode([Delivery(message)]))

    assert completed == [MAX_TRANSACTION_FINDINGS], "the last part must not begin"
