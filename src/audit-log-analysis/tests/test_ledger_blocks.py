"""The ledger is exact for any order, repetition and composition of batches."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_analysis.ledger import blocks
from audit_analysis.ledger.blocks import SIZE, Block, BlockCounts, BlockKey
from audit_analysis.ledger.outcomes import EventCounts, MessageOutcome
from auditflow.contract.ledger import Entry, Label, Receipt, runs_of

PRODUCER = "0123456789abcdef"
HOUR = 494_444
HOUR_MS = 3_600_000


def archived(number: int, events: int = 1, **outcome: int) -> MessageOutcome:
    label = Label(PRODUCER, "okta", HOUR, number, events)
    return MessageOutcome(
        label, HOUR * HOUR_MS, EventCounts(**outcome) if outcome else EventCounts(analysed=events)
    )


def receipt(messages: dict[int, int], confirmed_ms: int = 1) -> Receipt:
    return Receipt(PRODUCER, confirmed_ms, (Entry("okta", HOUR, runs_of(messages.items())),))


def apply(*steps: Any) -> dict[BlockKey, Block]:
    """The blocks after each step, which is a receipt or a list of messages."""
    state: dict[BlockKey, Block] = {}
    for step in steps:
        is_receipt = isinstance(step, Receipt)
        changes = blocks.changes_of([step] if is_receipt else [], [] if is_receipt else step)
        for key, changed in changes.items():
            state[key] = state.get(key, Block()).changed(changed)
    return state


@given(
    accepted=st.dictionaries(st.integers(SIZE - 20, SIZE + 20), st.integers(1, 254), max_size=40),
    lost=st.sets(st.integers(SIZE - 20, SIZE + 20), max_size=5),
    without_receipt=st.sets(st.integers(SIZE - 20, SIZE + 20), max_size=5),
    data=st.data(),
)
def test_the_counts_do_not_depend_on_batches(
    accepted: dict[int, int], lost: set[int], without_receipt: set[int], data: st.DataObject
) -> None:
    # Given messages of which some were lost, and some have no receipt
    delivered = [archived(number, accepted[number]) for number in accepted if number not in lost]
    stated = {number: accepted[number] for number in accepted if number not in without_receipt}
    half = data.draw(st.integers(0, len(delivered)))
    steps: list[Any] = [
        receipt(stated), receipt(stated), delivered[:half], delivered[half:],
        data.draw(st.permutations(delivered)),
    ]  # fmt: skip
    # when batches and receipts arrive in any order, and each message twice
    state = apply(*data.draw(st.permutations(steps)))
    # then each message is counted once
    counts = [block.counts() for block in state.values()]
    assert sum(block.outcome.archived for block in state.values()) == sum(
        accepted[number] for number in accepted if number not in lost
    )
    assert sum(count.outstanding for count in counts) == sum(
        accepted[number] for number in stated if number in lost
    )
    assert sum(count.unconfirmed for count in counts) == sum(
        accepted[number] for number in accepted if number not in lost and number not in stated
    )
    assert sum(count.altered for count in counts) == 0
    assert sum(count.accepted for count in counts) == sum(
        accepted[number] for number in accepted if number in stated or number not in lost
    )
    assert sum(block.repeated for block in state.values()) == sum(
        accepted[number] for number in accepted if number not in lost
    )


def test_a_message_with_another_number_of_events_is_altered() -> None:
    (block,) = apply(
        receipt({3: 5, 4: 2}), [archived(3, analysed=4), archived(4, events=2)]
    ).values()
    assert block.counts().altered == 5
    assert block.altered() == [3]
    (empty,) = apply(receipt({3: 5}), [archived(3, analysed=0, refused=0)]).values()
    assert empty.counts() == (5, 0, 5, 0)


def test_missing_messages_have_their_numbers() -> None:
    state = apply(receipt(dict.fromkeys(range(10), 2)), [archived(n, 2) for n in (0, 4, 9)])
    (block,) = state.values()
    assert list(blocks.ranges(block.outstanding())) == ["1-3", "5-8"]
    assert block.counts().outstanding == 14


def test_messages_that_did_not_come_from_the_ingest_are_counted_by_hour() -> None:
    direct = MessageOutcome(None, HOUR * HOUR_MS + 5, EventCounts(analysed=2, late=1))
    assert blocks.changes_of([], [direct]) == {}
    assert blocks.direct_outcomes([direct, direct, archived(1)]) == {
        HOUR: EventCounts(analysed=4, late=2)
    }


def test_blocks_are_small_when_they_are_stored() -> None:
    values = bytes([100]) * SIZE
    assert len(blocks.packed(values)) < 40
    assert blocks.unpacked(blocks.packed(values)) == values


def test_a_new_block_is_empty() -> None:
    assert Block() == Block(
        accepted=bytes(1024),
        archived=bytes(1024),
        confirmed_ms=0,
        outcome=EventCounts(),
        repeated=0,
    )
    assert Block().counts() == BlockCounts(0, 0, 0, 0)


def test_a_block_has_1024_messages() -> None:
    assert list(apply([archived(1023), archived(1024), archived(2048)])) == [
        BlockKey(PRODUCER, "okta", HOUR, block) for block in (0, 1, 2)
    ]


def test_blocks_have_an_order() -> None:
    """Two processes lock the rows of blocks in this order, so they cannot wait for each other."""
    keys = [BlockKey(*key) for key in (("b", "a", 1, 1), ("a", "b", 1, 1), ("a", "a", 2, 1))]
    assert sorted(keys) == keys[::-1]


def test_the_stored_numbers_of_events_fit_a_byte() -> None:
    messages = {0: 0, 1: 1, 2: 253, 3: 254, 4: 255, 5: 300}
    (block,) = apply([archived(n, analysed=events) for n, events in messages.items()]).values()
    assert list(block.archived[:7]) == [255, 1, 253, 254, 254, 254, 0]
    assert block.outcome == EventCounts(analysed=1063)
    assert block.counts() == BlockCounts(1016, 0, 0, 1016)


def test_the_counts_of_a_block_with_every_difference() -> None:
    block = Block(
        accepted=bytes([5, 4, 0, 3, 0, 6, 0, 2]), archived=bytes([5, 0, 7, 3, 255, 1, 0, 2])
    )
    # equal: 5, 3 and 2; outstanding: 4; unconfirmed: 7 and 0 events; altered: 6
    assert block.counts() == BlockCounts(27, 4, 6, 7)
    assert (block.outstanding(), block.altered()) == ([1], [5])


def test_a_block_of_which_all_messages_are_archived() -> None:
    block = Block(accepted=bytes([5, 0, 3]), archived=bytes([5, 0, 3]))
    assert block.counts() == BlockCounts(8, 0, 0, 0)
    assert (block.outstanding(), block.altered()) == ([], [])


def test_a_damaged_block_is_an_error() -> None:
    """The shorter side must not hide messages of the other side."""
    damaged = Block(accepted=b"\1", archived=b"\2\1")
    for derive in (damaged.counts, damaged.outstanding, damaged.altered):
        with pytest.raises(ValueError, match="longer than argument 1"):
            derive()


def test_the_first_receipt_of_a_message_counts() -> None:
    state = apply(receipt({3: 5}, confirmed_ms=20), receipt({3: 6, 4: 2}, confirmed_ms=10))
    (block,) = state.values()
    assert list(block.accepted[:6]) == [0, 0, 0, 5, 2, 0]
    assert block.confirmed_ms == 20
    (later,) = apply(receipt({3: 5}, confirmed_ms=10), receipt({3: 5}, confirmed_ms=20)).values()
    assert later.confirmed_ms == 20


def test_the_newest_receipt_of_a_batch_counts() -> None:
    (changes,) = blocks.changes_of(
        [receipt({3: 5}, confirmed_ms=20), receipt({4: 2}, confirmed_ms=10)], []
    ).values()
    assert (changes.accepted, changes.confirmed_ms) == ({3: 5, 4: 2}, 20)
    (unconfirmed,) = blocks.changes_of([], [archived(3)]).values()
    assert unconfirmed.confirmed_ms == 0


def test_repeated_events_are_counted_in_a_batch_and_across_batches() -> None:
    first = [archived(3, 5), archived(3, 5), archived(4, 2)]
    (block,) = apply(first).values()
    assert (block.repeated, block.outcome.archived) == (5, 7)
    (again,) = apply(first, [archived(3, 5), archived(5, 1)]).values()
    assert (again.repeated, again.outcome.archived) == (10, 8)


def test_labelled_messages_after_others_are_counted() -> None:
    direct = MessageOutcome(None, HOUR * HOUR_MS, EventCounts(analysed=2))
    ((key, changes),) = blocks.changes_of([], [direct, archived(1, 4)]).items()
    assert key == BlockKey(PRODUCER, "okta", HOUR, 0)
    assert changes.archived == {1: EventCounts(analysed=4)}


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], []),
        ([0], ["0"]),
        ([7], ["7"]),
        ([3, 4], ["3-4"]),
        ([0, 1, 2, 4, 6, 7, 9], ["0-2", "4", "6-7", "9"]),
    ],
)
def test_consecutive_numbers_become_a_range(numbers: list[int], text: list[str]) -> None:
    assert list(blocks.ranges(numbers)) == text
