"""Batches for the archive: the messages survive unchanged, and damaged batches are refused."""

import hashlib
import struct
import sys
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.contract import archive
from auditflow.contract.archive import ArchivedMessage, Note
from auditflow.errors import ContractError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MESSAGES = [ArchivedMessage(b"\0\0", b'{"event_id":"a"}'), ArchivedMessage(b"", b"\xff not JSON")]


@given(st.lists(st.builds(ArchivedMessage, st.binary(), st.binary())))
def test_messages_of_any_bytes_are_kept(messages: list[ArchivedMessage]) -> None:
    notes = [Note(message=0, event=1, late=True), Note(message=1, event=0, refused="no JSON")]
    body = archive.compress(messages).with_notes(notes, processed_ms=12)
    batch = archive.decode(body)
    assert list(archive.messages_of(batch)) == messages
    assert (batch.processed_ms, list(batch.notes)) == (12, notes)


def test_the_same_messages_have_the_same_batch_id() -> None:
    assert archive.compress(MESSAGES).batch_id == archive.compress(list(MESSAGES)).batch_id
    assert archive.compress(MESSAGES).batch_id != archive.compress(MESSAGES[:1]).batch_id


def test_damaged_batches_are_refused() -> None:
    body = archive.compress(MESSAGES).with_notes((), processed_ms=0)
    for damaged in (b"", b"{}", body[:-3], msgspec.msgpack.encode([2, b"", 0, b"", []])):
        with pytest.raises(ContractError):
            archive.messages_of(archive.decode(damaged))
    batch = archive.decode(body)
    other = archive.compress(MESSAGES[:1]).content
    for content in (batch.content[:-1], b"", other):
        with pytest.raises(ContractError):
            archive.messages_of(msgspec.structs.replace(batch, content=content))


def test_a_small_batch_with_a_huge_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed = archive.compress([ArchivedMessage(b"", bytes(100_000))])
    batch = archive.decode(compressed.with_notes((), processed_ms=0))
    monkeypatch.setattr(archive, "MAX_CONTENT_BYTES", 99_999)
    with pytest.raises(ContractError, match="more than 99999 bytes"):
        archive.messages_of(batch)


def test_a_batch_with_too_many_messages_is_refused_before_they_are_decoded() -> None:
    """3 KB of zstd can contain six million messages, which use more than a gigabyte."""
    number = 200_000
    content = b"\xdd" + struct.pack(">I", number) + b"\x92\xc4\x00\xc4\x00" * number
    batch = archive.ArchiveBatch(
        batch_id=hashlib.blake2b(content, digest_size=16).digest(),
        processed_ms=0,
        content=zstd.compress(content, 1),
    )
    tracemalloc.start()
    try:
        with pytest.raises(ContractError, match=f"length <= {archive.MAX_MESSAGES}"):
            archive.messages_of(batch)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(content)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "fields",
    [
        {"processed_ms": 2**53},
        {"processed_ms": -1},
        {"processed_ms": 0, "events": -1},
        {"processed_ms": 0, "events": 2**40},
        {"processed_ms": 0, "notes": [Note(message=0, event=0, clamped_ms=2**62)]},
        {"processed_ms": 0, "notes": [Note(message=0, event=0)] * (archive.MAX_EVENTS + 1)},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    body = archive.compress(MESSAGES).with_notes(**{"notes": (), **fields})
    with pytest.raises(ContractError, match="not a batch of the archive"):
        archive.decode(body)
