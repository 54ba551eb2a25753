"""Turns batches of the queue ``audit_archive`` into rows. Pure."""

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from audit_analysis.archive.table import OTHER, ArchivedEvent, source_of
from audit_analysis.ledger.outcomes import EventCounts, MessageOutcome, outcome_of
from auditflow.amqp import dead_letter
from auditflow.amqp.delivery import Delivery, has_no_context
from auditflow.contract import acceptance, archive, event, identity, ledger
from auditflow.contract.archive import ArchiveBatch, Note
from auditflow.contract.event import Received
from auditflow.contract.ledger import Label
from auditflow.errors import ContractError

#: Text that is longer is cut in its column. The record is complete.
MAX_TEXT: Final = 4096
_NO_NOTE: Final = Note(message=0, event=0)
#: The log source of an event without one: product, service and category.
_NOTHING: Final = (None, None, None)


class _Context(NamedTuple):
    """The properties of a message that the archive stores."""

    accepted_ms: int | None = None
    correlation_id: str | None = None
    label: Label | None = None


_NO_CONTEXT: Final = _Context()
#: The outcome of a number of events that were analysed, and nothing else.
_analysed = lru_cache(maxsize=1000)(EventCounts)


class DecodedMessage(NamedTuple):
    """The rows of a message, and the outcome of its events."""

    rows: list[ArchivedEvent]
    outcome: MessageOutcome


def messages_of_batch(batch: ArchiveBatch) -> list[DecodedMessage]:
    """The messages of a batch, with their events and refused records in their order.

    Raises:
        ContractError: the batch is damaged or has too many events.
    """
    notes = {(note.message, note.event): note for note in batch.notes}
    messages: list[DecodedMessage] = []
    total = 0
    processed_us = batch.processed_us
    if processed_us is None:
        processed_us = batch.processed_ms * 1000
    for index, message in enumerate(archive.messages_of(batch)):
        context = _context_of(message.properties)
        accepted_ms = context.accepted_ms
        received_ms = batch.processed_ms if accepted_ms is None else accepted_ms
        rows: list[ArchivedEvent] = []
        is_plain = True
        for number, decoded in enumerate(event.decode_message(message.body)):
            note = _NO_NOTE
            if notes:
                is_plain = False
                all_events = notes.get((index, archive.ALL_EVENTS), _NO_NOTE)
                note = notes.get((index, number), all_events)
            if isinstance(decoded, event.Refused) or note.refused is not None:
                is_plain = False
                own = decoded.reason if isinstance(decoded, event.Refused) else None
                reason = note.refused or own or "unknown"
                refused = refused_row(decoded.raw, reason, received_ms, context.correlation_id)
                rows.append(refused._replace(processed_us=processed_us, position=total + number))
            else:
                own_ms = note.clamped_ms
                occurred_ms = event.epoch_ms(decoded.event.timestamp) if own_ms is None else own_ms
                # A redelivery has another time of analysis, but must be in the same hour.
                in_hour_ms = min(received_ms, occurred_ms) if accepted_ms is None else received_ms
                rows.append(
                    _row(
                        decoded,
                        note,
                        in_hour_ms,
                        occurred_ms,
                        context.correlation_id,
                        processed_us=processed_us,
                        position=total + number,
                    )
                )
        total += len(rows)
        if total > archive.MAX_EVENTS:
            raise ContractError(f"the batch has more than {archive.MAX_EVENTS} events")
        if is_plain:
            outcome = _analysed(len(rows))
        else:
            outcome = outcome_of(rows, failed=(index, archive.ALL_EVENTS) in notes)
        messages.append(DecodedMessage(rows, MessageOutcome(context.label, received_ms, outcome)))
    return messages


def message_of_dead_letter(delivery: Delivery) -> DecodedMessage:
    """A record that the ingest refused. Its reason and its time are headers."""
    headers = delivery.headers
    received_ms = _dead_ms(headers)
    row = refused_row(
        delivery.body[: archive.MAX_BODY_BYTES],
        dead_letter.reason_of(headers),
        received_ms,
        _text(delivery.correlation_id),
    )
    return DecodedMessage(
        [row], MessageOutcome(ledger.label_of(headers), received_ms, outcome_of([row]))
    )


def is_dead_letter(delivery: Delivery) -> bool:
    """Whether a message is a record that the ingest refused, not a batch."""
    return dead_letter.REASON in delivery.headers


def refused_row(
    record: bytes, reason: str, received_ms: int, correlation_id: str | None
) -> ArchivedEvent:
    """The row of a refused record."""
    nothing = dict.fromkeys(ArchivedEvent._fields)
    return ArchivedEvent(
        **{
            **nothing,
            "event_id": identity.record_id(record),
            "received_ms": received_ms,
            "occurred_ms": received_ms,
            "source": OTHER,
            "correlation_id": correlation_id,
            "late": False,
            "clamped": False,
            "staged": False,
            "refused": True,
            "reason": _text(reason),
            "record": record,
        }  # type: ignore[arg-type]
    )


def _context_of(properties: bytes) -> _Context:
    if has_no_context(properties):
        return _NO_CONTEXT
    delivery = Delivery(b"", properties=properties)
    headers = delivery.headers
    return _Context(
        acceptance.copied_header(headers).get(acceptance.HEADER),
        _text(delivery.correlation_id),
        ledger.label_of(headers),
    )


def _row(
    received: Received,
    note: Note,
    received_ms: int,
    occurred_ms: int,
    correlation_id: str | None,
    *,
    processed_us: int,
    position: int,
) -> ArchivedEvent:
    decoded, raw = received.event, received.raw
    logsource = decoded.logsource
    texts: tuple[str | None, ...] = (
        decoded.action_result,
        decoded.source_service,
        decoded.server_hostname,
        decoded.user_id,
        decoded.address,
        decoded.object,
        *((logsource.product, logsource.service, logsource.category) if logsource else _NOTHING),
    )
    if len(raw) > MAX_TEXT or b"\\u" in raw or not raw.isascii():
        texts = tuple(map(_text, texts))
    # A named tuple with this number of fields is created faster from a tuple than by its fields.
    row = (
        decoded.event_id,
        received_ms,
        occurred_ms,
        OTHER if logsource is None else source_of(logsource),
        decoded.event_type,
        decoded.severity.value,
        *texts,
        correlation_id,
        note.late,
        note.clamped_ms is not None,
        note.staged,
        False,
        None,
        raw,
        processed_us,
        position,
    )
    return ArchivedEvent._make(row)


def _text(value: str | None) -> str | None:
    if value is None or (value.isascii() and len(value) <= MAX_TEXT):
        return value
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        value = value.encode("utf-8", "replace").decode()
    return value[:MAX_TEXT]


def _dead_ms(headers: Mapping[str, Any]) -> int:
    try:
        return event.epoch_ms(dt.datetime.fromisoformat(str(headers[dead_letter.DEAD_AT])))
    except (KeyError, ValueError, TypeError):
        return 0
