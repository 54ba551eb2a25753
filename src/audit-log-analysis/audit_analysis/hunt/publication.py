"""Publishes the findings of a hunt in groups. Temporary errors of the broker are retried."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from auditflow.amqp import Message, topology
from auditflow.contract import finding
from auditflow.contract.finding import Finding
from auditflow.errors import AuditFlowError, Unavailable
from auditflow.telemetry import logs

#: Number of findings that are published together.
GROUP_SIZE: Final = 500
#: Maximum time until the broker confirms a group, in seconds.
CONFIRM_SECONDS: Final = 30.0
#: Maximum number of attempts to publish a group.
MAX_ATTEMPTS: Final = 60

_decode_finding = msgspec.json.Decoder(Finding).decode
log = logs.get(__name__)

#: Returns when the broker has stored the messages. The second argument is the maximum time in
#: seconds. Raises Unavailable.
Publish = Callable[[Sequence[Message], float], None]


class NotStored(AuditFlowError):
    """The broker did not store a group of findings."""


def publish_file(
    path: Path,
    publish: Publish,
    *,
    check: Callable[[], None],
    pause: Callable[[], None],
    on_stored: Callable[[int], None],
) -> None:
    """Publish all findings of a file. A repetition changes nothing: the identifiers are the same.

    Args:
        path: The findings as NDJSON.
        publish: Publishes one group.
        check: Called before each attempt. It raises an exception to end the publication.
        pause: Called between two attempts. It may raise an exception too.
        on_stored: Called after each group, with the number of findings published until then.

    Raises:
        NotStored: the broker did not store a group.
    """
    published = 0
    with path.open("rb") as file:
        while lines := list(itertools.islice(file, GROUP_SIZE)):
            messages = [_message(_decode_finding(line)) for line in lines]
            _publish_group(messages, publish, check=check, pause=pause)
            published += len(messages)
            on_stored(published)


def _publish_group(
    messages: Sequence[Message],
    publish: Publish,
    *,
    check: Callable[[], None],
    pause: Callable[[], None],
) -> None:
    for _ in range(MAX_ATTEMPTS):
        check()
        try:
            publish(messages, CONFIRM_SECONDS)
        except Unavailable as error:
            log.warning("findings of a hunt are published again", error=str(error))
            pause()
        else:
            return
    raise NotStored(f"the broker did not store the findings in {MAX_ATTEMPTS} attempts")


def _message(found: Finding) -> Message:
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=f"finding.{found.severity.value.lower()}",
        body=finding.encode(found),
        message_id=str(found.finding_id),
    )
