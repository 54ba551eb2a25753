"""The ledger is exact for any order, repetition and composition of batches."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from audit_analysis.ledger import blocks
from audit_analysis.ledger.blocks import SIZE, Block, BlockKey
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
