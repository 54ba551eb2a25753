"""The pipeline gives each batch to the archive."""

import datetime as dt

import msgspec
import pika
import pytest

from audit_analysis.service.archiving import Archiver, poison_messages
from auditflow.amqp import DeadLetter, Delivery
from auditflow.contract import acceptance, archive
from auditflow.errors import PublishError

from .pipeline_bench import NOW, Bench, delivery, failed_login


def archived(bench: Bench) -> list[archive.ArchiveBatch]:
    """The published batches of the archive."""
    return [
        archive.decode(message.body)
        for message in bench.published
        if message.content_type == archive.CONTENT_TYPE
    ]


def test_the_messages_of_a_batch_are_archived_unchanged_with_notes() -> None:
    # given a batch with an event ahead of time, a refused event and a late event
    bench = Bench(Archiver())
    old = [failed_login(number, seconds=-7200) for number in range(2)]
    bodies = [
        msgspec.json.encode([failed_login(5, seconds=7200), {"event_id": "no timestamp"}]),
        msgspec.json.encode(failed_login(6)),
        b"\xff",
        msgspec.json.encode(old[0]),
    ]

    # when it is processed
    bench.send(*bodies)

    # then the archive gets the same bytes, and a note about each special event
    (batch,) = archived(bench)
    messages = archive.messages_of(batch)
    assert [message.body for message in messages] == bodies
    assert [message.properties for message in messages] == [
        delivery(body).properties for body in bodies
    ]
    ahead, refused, no_text, late = batch.notes
    assert (ahead.message, ahead.event, ahead.clamped_ms) == (
        0, 0, int((NOW + dt.timedelta(minutes=5)).timestamp() * 1000),
    )  # fmt: skip
    assert (refused.message, refused.event) == (0, 1)
    assert "timestamp" in (refused.refused or "")
    assert (no_text.message, no_text.event) == (2, 0)
    assert (late.message, late.event, late.late, late.refused) == (3, 0, True, None)


def test_a_batch_without_findings_waits_for_the_archive() -> None:
    bench = Bench(Archiver())
    bench.broker_is_down = True
    with pytest.raises(PublishError):
        bench.send(msgspec.json.encode(failed_login(1)))
    bench.broker_is_down = False
    bench.send(msgspec.json.encode(failed_login(1)))
    assert len(archived(bench)) == 1
    assert bench.ledger()["analysed"] == 1


def test_large_bodies_and_properties_are_cut() -> None:
    bench = Bench(Archiver())
    properties = pika.BasicProperties(
        correlation_id="c-1", headers={"large": "x" * 100_000, acceptance.HEADER: 7}
    )
    bench.pipeline([Delivery(b"x" * 3_000_000, properties=b"".join(properties.encode()))])
    (batch,) = archived(bench)
    (message,) = archive.messages_of(batch)
    assert len(message.body) == archive.MAX_BODY_BYTES
    kept = Delivery(b"", properties=message.properties)
    assert (kept.correlation_id, kept.headers) == ("c-1", {acceptance.HEADER: 7})
    assert "3000000 bytes" in (batch.notes[0].refused or "")


def test_a_message_whose_processing_failed_is_archived_as_refused() -> None:
    letter = DeadLetter(
        body=b"[{},{}]", reason="ValueError: x", kind="poison", headers={acceptance.HEADER: 7}
    )
    (message,) = poison_messages([letter])
    batch = archive.decode(message.body)
    (archived_message,) = archive.messages_of(batch)
    assert archived_message.body == letter.body
    assert Delivery(b"", properties=archived_message.properties).headers == letter.headers
    assert batch.notes == (
        archive.Note(message=0, event=archive.ALL_EVENTS, refused="ValueError: x"),
    )
