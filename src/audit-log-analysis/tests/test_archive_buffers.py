"""The buffers of the archive's writer: acknowledgements, and events that are in no file yet."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from audit_analysis.archive.buffers import Buffer, Buffers
from audit_analysis.archive.decoding import refused_row
from audit_analysis.archive.pending_batch import PendingBatch, poison
from auditflow.amqp import DeadLetter, Delivery


def batch(name: str, *records: bytes) -> PendingBatch:
    return PendingBatch(
        delivery=Delivery(b""),
        batch_id=name.encode(),
        rows=[refused_row(record, "reason", 0, None) for record in records],
    )


@pytest.fixture
def clock() -> Iterator[int]:
    return count(100)


@pytest.fixture
def buffers(clock: Iterator[int]) -> Buffers:
    return Buffers(lambda: float(next(clock)))


def records(buffers: Buffers) -> list[bytes]:
    return [row.record for row in buffers.rows()]


def test_a_new_buffer_is_empty(buffers: Buffers) -> None:
    assert buffers.open == Buffer(100.0, {}, [], 0, 0, 0, 0)
    assert (list(buffers.rows()), buffers.row_count(), buffers.take_flushed()) == ([], 0, None)


def test_the_first_message_starts_the_time_of_a_buffer(buffers: Buffers) -> None:
    buffers.add(1, batch=batch("a", b"xx", b"yyy"))
    buffers.add(2, batch=batch("b", b"z"))
    buffers.add(3, batch=batch("c"))
    assert (buffers.open.started, buffers.open.messages, buffers.open.last_tag) == (101.0, 3, 3)
    assert (buffers.open.rows, buffers.open.size) == (3, 6)


def test_a_repeated_batch_is_acknowledged_and_not_stored_again(buffers: Buffers) -> None:
    buffers.add(1, batch=batch("a", b"xx"))
    buffers.add(2, batch=batch("a", b"xx"))
    assert (buffers.open.rows, buffers.open.size, buffers.row_count()) == (1, 2, 1)
    assert (buffers.open.messages, buffers.open.last_tag) == (2, 2)


def test_a_dead_letter_is_acknowledged_with_its_buffer(buffers: Buffers) -> None:
    dead_letter: DeadLetter = poison(Delivery(b"x"), ValueError("bad"))
    buffers.add(7, dead_letter=dead_letter)
    assert buffers.open.dead_letters == [dead_letter]
    assert (buffers.open.messages, buffers.open.last_tag, buffers.open.rows) == (1, 7, 0)
    assert dead_letter.reason == "ValueError: bad"


def test_events_are_readable_until_their_file_is_committed(buffers: Buffers) -> None:
    buffers.add(1, batch=batch("a", b"1"))
    buffers.request_flush()
    buffers.add(2, batch=batch("b", b"2", b"3"))
    # while the first buffer is written, readers see both
    flushing = buffers.next_buffer()
    assert flushing is not None
    assert flushing.last_tag == 1
    assert (records(buffers), buffers.row_count()) == ([b"1", b"2", b"3"], 3)
    assert buffers.take_flushed() is None
    # when it is written, it is acknowledged once
    buffers.report_flushed()
    assert buffers.take_flushed() is flushing
    assert buffers.take_flushed() is None
    assert (records(buffers), buffers.row_count()) == ([b"2", b"3"], 2)


def test_a_buffer_waits_until_the_previous_one_is_written(buffers: Buffers) -> None:
    buffers.add(1, batch=batch("a", b"1"))
    buffers.request_flush()
    buffers.add(2, batch=batch("b", b"2"))
    buffers.request_flush()
    first = buffers.next_buffer()
    assert first is not None
    assert list(first.batches) == [b"a"]
    assert list(buffers.open.batches) == [b"b"]
    # and the written buffer is not written again before it is acknowledged
    buffers.report_flushed()
    buffers.end_wait()
    assert buffers.next_buffer() is None
    buffers.take_flushed()
    buffers.request_flush()
    second = buffers.next_buffer()
    assert second is not None
    assert list(second.batches) == [b"b"]


def test_a_lost_connection_leaves_nothing_to_acknowledge(buffers: Buffers) -> None:
    buffers.add(1, batch=batch("a", b"1"))
    buffers.request_flush()
    buffers.add(2, batch=batch("b", b"2"))
    # when the connection is lost, the open buffer is delivered again, and the flush completes
    buffers.discard_open()
    assert records(buffers) == [b"1"]
    assert buffers.open.messages == 0
    flushing = buffers.next_buffer()
    assert flushing is not None
    buffers.report_flushed()
    flushed = buffers.take_flushed()
    assert flushed is flushing
    assert flushed.last_tag == 0


def test_a_lost_connection_without_a_flush_empties_the_buffer(buffers: Buffers) -> None:
    buffers.add(1, batch=batch("a", b"1"))
    buffers.discard_open()
    assert (records(buffers), buffers.open.last_tag) == ([], 0)


def test_the_wait_for_a_buffer_ends(buffers: Buffers) -> None:
    results: list[Buffer | None] = []
    waiting = threading.Thread(target=lambda: results.append(buffers.next_buffer()), daemon=True)
    waiting.start()
    buffers.end_wait()
    waiting.join(60)
    assert results == [None]
