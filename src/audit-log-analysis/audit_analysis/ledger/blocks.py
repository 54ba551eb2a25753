"""Blocks: up to 1024 numbered messages of a producer, a source and an hour. Pure.

For each message, a block has the number of events that the ingest accepted, and the number that is
archived. Therefore a receipt or a message that arrives again changes nothing, in any composition
of batches.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final, NamedTuple

from msgspec import Struct

from audit_analysis.ledger.outcomes import EventCounts, MessageOutcome
from auditflow.contract.ledger import HOUR_MS, Receipt

#: Number of messages of a block.
SIZE: Final = 1024
#: The stored number of an archived message without events. A labelled message has fewer events.
_NO_EVENTS: Final = 255
_EMPTY: Final = bytes(SIZE)
#: The source of messages that did not come from the ingest.
DIRECT: Final = "direct"


class BlockKey(Struct, frozen=True, order=True):
    """Identifies a block. ``hour`` is in hours since 1970."""

    producer: str
    source: str
    hour: int
    block: int


class Changes(Struct):
    """The entries that receipts and archived messages add to a block.

    ``accepted`` and ``archived`` are by index in the block. ``confirmed_ms`` is the time of the
    newest receipt, in milliseconds since 1970.
    """

    accepted: dict[int, int]
    archived: dict[int, EventCounts]
    confirmed_ms: int = 0
    repeated: int = 0


class Block(Struct, frozen=True, kw_only=True):
    """The state of a block. ``accepted`` and ``archived`` have a byte for each message.

    ``outcome`` is the sum of all archived messages, and ``repeated`` the number of events that were
    archived again.
    """

    accepted: bytes = _EMPTY
    archived: bytes = _EMPTY
    confirmed_ms: int = 0
    outcome: EventCounts = EventCounts()
    repeated: int = 0

    def changed(self, changes: Changes) -> "Block":
        """The block after changes."""
        accepted, archived = bytearray(self.accepted), bytearray(self.archived)
        outcome, repeated = self.outcome, self.repeated + changes.repeated
        for index, events in changes.accepted.items():
            accepted[index] = accepted[index] or events
        for index, added in changes.archived.items():
            if archived[index]:
                repeated += added.archived
                continue
            archived[index] = min(added.archived, _NO_EVENTS - 1) or _NO_EVENTS
            outcome = outcome.plus(added)
        return Block(
            accepted=bytes(accepted),
            archived=bytes(archived),
            confirmed_ms=max(self.confirmed_ms, changes.confirmed_ms),
            outcome=outcome,
            repeated=repeated,
        )

    def counts(self) -> "BlockCounts":
        """The numbers of events that are derived from both sides."""
        if self.accepted == self.archived:
            return BlockCounts(sum(self.accepted), 0, 0, 0)
        total = outstanding = altered = unconfirmed = 0
        for accepted, archived in zip(self.accepted, self.archived, strict=True):
            total += accepted or archived % _NO_EVENTS
            if accepted == archived:
                continue
            if not archived:
                outstanding += accepted
            elif not accepted:
                unconfirmed += archived % _NO_EVENTS
            else:
                altered += accepted
        return BlockCounts(total, outstanding, altered, unconfirmed)

    def outstanding(self) -> list[int]:
        """The indices of accepted messages that are not archived."""
        return [
            index
            for index, (accepted, archived) in enumerate(
                zip(self.accepted, self.archived, strict=True)
            )
            if accepted and not archived
        ]

    def altered(self) -> list[int]:
        """The indices of messages that are archived with another number of events."""
        return [
            index
            for index, (accepted, archived) in enumerate(
                zip(self.accepted, self.archived, strict=True)
            )
            if accepted and archived and accepted != archived
        ]


class BlockCounts(NamedTuple):
    """Numbers of events.

    ``accepted``: with a receipt or archived. ``outstanding``: accepted and not archived.
    ``altered``: accepted, in messages that are archived with another number of events.
    ``unconfirmed``: archived without a receipt.
    """

    accepted: int
    outstanding: int
    altered: int
    unconfirmed: int


def changes_of(
    receipts: Iterable[Receipt], messages: Iterable[MessageOutcome]
) -> Mapping[BlockKey, Changes]:
    """The changes of blocks. Messages without a label are not included."""
    changes: dict[BlockKey, Changes] = defaultdict(lambda: Changes({}, {}))
    for receipt in receipts:
        for entry in receipt.entries:
            for run in entry.runs:
                for number in range(run.start, run.stop):
                    block, index = divmod(number, SIZE)
                    key = BlockKey(receipt.producer, entry.source, entry.hour, block)
                    changed = changes[key]
                    changed.accepted[index] = run.events
                    changed.confirmed_ms = max(changed.confirmed_ms, receipt.confirmed_ms)
    for label, _, outcome in messages:
        if label is None:
            continue
        block, index = divmod(label.number, SIZE)
        changed = changes[BlockKey(label.producer, label.source, label.hour, block)]
        if index in changed.archived:
            changed.repeated += outcome.archived
        else:
            changed.archived[index] = outcome
    return changes


def direct_outcomes(messages: Iterable[MessageOutcome]) -> dict[int, EventCounts]:
    """The outcomes of messages without a label, by hour."""
    # Most messages have the same outcome, and counting is faster than adding.
    numbers = Counter(
        (received_ms // HOUR_MS, outcome)
        for label, received_ms, outcome in messages
        if label is None
    )
    outcomes: dict[int, EventCounts] = defaultdict(EventCounts)
    for (hour, outcome), number in numbers.items():
        outcomes[hour] = outcomes[hour].plus(outcome.times(number))
    return outcomes


def packed(values: bytes) -> bytes:
    """The bytes of a block as they are stored."""
    return zlib.compress(values, 1)


def unpacked(stored: bytes) -> bytes:
    """The bytes of a block, of its stored form."""
    return zlib.decompress(stored)


def ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Ascending numbers as text: ``3-5`` and ``9``."""
    # Consecutive numbers have the same difference to their position.
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        consecutive = [number for _, number in group]
        first, last = consecutive[0], consecutive[-1]
        yield str(first) if first == last else f"{first}-{last}"
