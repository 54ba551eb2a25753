"""Every accepted event is accounted for: accepted = analysed + late + rejected + dead-lettered."""

import json
from pathlib import Path

import pytest

from auditflow.amqp import topology
from auditflow.contract import event
from auditflow.contract.event import Received
from auditflow_local.polling import eventually

from .events import failed_login
from .platform import Platform

RECORDED = Path(__file__).parents[1] / "audit-event-generator" / "tests" / "data"


def balanced(platform: Platform) -> bool:
    """Whether all that was accepted has become something."""
    ledger = platform.ledger()
    return ledger.pop("accepted") == sum(ledger.values())


@pytest.mark.parametrize(
    ("source", "file", "list_of"),
    [
        ("kubernetes", "kubernetes-audit.json", "items"),
        ("cloudtrail", "cloudtrail.json", "Records"),
    ],
)
def test_a_recorded_log_is_ingested_completely(
    platform: Platform, source: str, file: str, list_of: str
) -> None:
    # Given a log as the source writes it, and an ear on what is sent on
    body = (RECORDED / file).read_bytes()
    records = json.loads(body)[list_of]
    with platform.broker() as channel:
        channel.queue_declare("ear", exclusive=True)
        channel.queue_bind("ear", topology.EXCHANGE, "event.#")
        # when it is posted
        with platform.ingest() as client:
            answer = client.post(f"/ingest/{source}", content=body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["accepted"] == len(records)
        # then each record came under its own id, unchanged
        sent: list[Received] = []
        while len(sent) < len(records):
            method, _, message = channel.basic_get("ear", auto_ack=True)
            assert method is not None
            sent += [
                entry for entry in event.decode_message(message) if isinstance(entry, Received)
            ]
    assert len({element.event.event_id for element in sent}) == len(records)
    carried = [json.loads(bytes(item.event.record)) for item in sent]  # type: ignore[arg-type]
    assert carried == records
    # and every one has become something
    eventually(lambda: platform.ledger()["accepted"] == len(records) and balanced(platform))


def test_the_same_log_twice_is_the_same_events(platform: Platform) -> None:
    body = (RECORDED / "cloudtrail.json").read_bytes()
    with platform.ingest() as client:
        for _ in range(2):
            assert client.post("/ingest/cloudtrail", content=body).status_code == 202
    eventually(lambda: balanced(platform))
    alerts = [alert["alert_id"] for alert in platform.alerts()]
    assert len(alerts) == len(set(alerts))


def test_late_events_have_their_place(platform: Platform) -> None:
    # Given an entity whose newest event is an hour after the others
    events = [failed_login("new", "alice", at=3600)]
    events += [failed_login(f"old-{number}", "alice", at=number) for number in range(3)]
    platform.send(events, chunk=1)
    # then the others are late: counted so, and in no window
    eventually(lambda: balanced(platform))
    assert platform.ledger() == {
        "accepted": 4,
        "analysed": 1,
        "late": 3,
        "rejected": 0,
        "dead_lettered": 0,
    }
    assert platform.alerts() == []
