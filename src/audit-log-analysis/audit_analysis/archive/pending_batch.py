"""Reads messages of the queue ``audit_archive`` into batches that are not in a file yet. Pure."""

import hashlib
from collections.abc import Sequence

from msgspec import Struct

from audit_analysis.archive import decoding
from audit_analysis.archive.table import ArchivedEvent, hour_of
from audit_analysis.ledger.outcomes import MessageOutcome
from audit_analysis.ledger.store import DifferentBatch
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.amqp.delivery import Delivery
from auditflow.contract import archive, ledger
from auditflow.contract.ledger import Receipt


class PendingBatch(Struct, frozen=True, kw_only=True):
    """A received batch or receipt. ``different`` is given if the analysis counted other events."""

    delivery: Delivery
    batch_id: bytes
    rows: Sequence[ArchivedEvent] = ()
    messages: Sequence[MessageOutcome] = ()
    receipt: Receipt | None = None
    different: DifferentBatch | None = None


def read(delivery: Delivery) -> PendingBatch:
    """The content of a message: a batch of the analysis, a receipt, or a record that was refused.

    Raises:
        ContractError: the message is none of them.
    """
    if decoding.is_dead_letter(delivery):
        content = delivery.properties + delivery.body
        batch_id = hashlib.blake2b(content, digest_size=16).digest()
        message = decoding.message_of_dead_letter(delivery)
        return PendingBatch(
            delivery=delivery, batch_id=batch_id, rows=message.rows, messages=[message.outcome]
        )
    if delivery.content_type == ledger.CONTENT_TYPE:
        receipt = ledger.decode_receipt(delivery.body)
        return PendingBatch(
            delivery=delivery, batch_id=ledger.receipt_id(delivery.body), receipt=receipt
        )
    batch = archive.decode(delivery.body)
    messages = decoding.messages_of_batch(batch)
    rows = [row for message in messages for row in message.rows]
    different = None
    if batch.events is not None and batch.events != len(rows):
        hour = hour_of(batch.processed_ms)
        different = DifferentBatch(batch.batch_id, hour, batch.events, len(rows))
    return PendingBatch(
        delivery=delivery,
        batch_id=batch.batch_id,
        rows=rows,
        messages=[message.outcome for message in messages],
        different=different,
    )


def poison(delivery: Delivery, error: Exception) -> DeadLetter:
    """The dead letter of a message that failed with an unexpected error."""
    return DeadLetter(
        body=delivery.body,
        reason=f"{type(error).__name__}: {error}",
        kind="poison",
        headers=delivery.headers,
    )
