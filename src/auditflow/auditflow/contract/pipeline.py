"""The state of the queues and the dead letters, as the API shows them."""

from typing import Annotated, Final

from msgspec import Meta, Struct

#: Maximum length of the reason of a dead letter, in characters.
MAX_REASON: Final = 500

Key = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class QueueView(Struct, frozen=True, kw_only=True):
    """A work queue."""

    name: str
    messages: Annotated[int, Meta(description="Messages that wait for a consumer (the lag).")]
    consumers: Annotated[int, Meta(description="Consumers that are connected.")]
    dead_letters: Annotated[int, Meta(description="Dead letters that wait for a decision.")]


class QueueList(Struct, frozen=True):
    """All work queues."""

    queues: tuple[QueueView, ...]


class DeadLetterView(Struct, frozen=True, kw_only=True):
    """A message that could not be processed, without its body."""

    key: Annotated[str, Meta(description="Identifies the message. It is computed from it.")]
    kind: Annotated[str, Meta(description="`contract`, `poison`, `quarantine` or `broker`.")]
    reason: str
    at: Annotated[str, Meta(description="RFC 3339, or empty if the time is unknown.")]
    message_id: str | None
    size: Annotated[int, Meta(description="The size of the body in bytes.")]
    beginning: Annotated[str, Meta(description="The first characters of the body.")]


class ReasonCount(Struct, frozen=True):
    """The number of dead letters with a reason."""

    reason: str
    count: int


class DeadLetterList(Struct, frozen=True, kw_only=True):
    """The oldest dead letters of a queue."""

    queue: str
    total: Annotated[int, Meta(description="All dead letters of the queue.")]
    examined: Annotated[int, Meta(description="The number of dead letters that were read.")]
    reasons: Annotated[tuple[ReasonCount, ...], Meta(description="Of those that were read.")]
    letters: tuple[DeadLetterView, ...]


class DeadLetterDetail(Struct, frozen=True, kw_only=True):
    """A dead letter with its body and headers."""

    queue: str
    letter: DeadLetterView
    headers: dict[str, str]
    body: Annotated[str, Meta(description="Indented if it is JSON, and with escapes.")]


class DeadLetterRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects dead letters, by their keys or by their reason, and says why."""

    keys: Annotated[tuple[Key, ...], Meta(max_length=500)] = ()
    reason: Annotated[
        str | None, Meta(description="All dead letters with exactly this reason.")
    ] = None
    comment: Annotated[str, Meta(max_length=400, pattern=r"^[^\x00]*$")] = ""


class DeadLetterResult(Struct, frozen=True):
    """The number of dead letters that were replayed or discarded, and of those that remain."""

    changed: int
    left: int
    complete: Annotated[bool, Meta(description="False: the time was over. Repeat the request.")]
