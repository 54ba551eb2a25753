"""The messages of the API of hunts (``/api/v1/hunts``)."""

from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from auditflow.contract.event import Timestamp

#: Maximum length of rules in a request (characters).
MAX_RULES: Final = 200_000


def _doc(description: str) -> Meta:
    return Meta(description=description)


class HuntState(StrEnum):
    """The state of a hunt. The last three are final."""

    WAITING = "waiting"
    RUNNING = "running"
    PUBLISHING = "publishing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the hunt does not change any more."""
        return self in (HuntState.COMPLETED, HuntState.FAILED, HuntState.CANCELLED)


class HuntRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Starts a hunt: with a rule of the service, or with rules in the request."""

    since: Annotated[Timestamp, _doc("Findings with events at this time or later.")]
    until: Annotated[
        Timestamp | None, _doc("Findings with events before this time. Default: now.")
    ] = None
    rule: (
        Annotated[
            str,
            Meta(
                description="The id or the title of a rule of the service.",
                min_length=1,
                max_length=500,
            ),
        ]
        | None
    ) = None
    rules: (
        Annotated[str, Meta(description="Sigma rules as YAML.", min_length=1, max_length=MAX_RULES)]
        | None
    ) = None
    publish: Annotated[
        bool, _doc("Publish the findings as alerts with the mark `retro`. Default: only a report.")
    ] = False


class Hunt(Struct, frozen=True, kw_only=True):
    """A hunt. Numbers grow while it runs."""

    hunt_id: UUID
    rule: Annotated[str | None, _doc("The rule. It is null if the request contained rules.")] = None
    since: Timestamp
    until: Timestamp
    publish: bool = False
    state: HuntState = HuntState.WAITING
    created_at: Timestamp
    created_by: Annotated[str, _doc("The person or the token that started the hunt.")]
    finished_at: Timestamp | None = None
    starts: Annotated[int, _doc("How often the hunt was started or continued.")] = 0
    total_events: Annotated[int, _doc("Number of events in the time range.")] = 0
    events: Annotated[int, _doc("Number of events that were processed.")] = 0
    candidates: Annotated[int, _doc("Number of events that the rules evaluated.")] = 0
    refused: Annotated[int, _doc("Number of events that could not be read.")] = 0
    findings: Annotated[int, _doc("Number of findings.")] = 0
    published: Annotated[int, _doc("Number of published findings.")] = 0
    error: Annotated[str | None, _doc("Why the hunt failed, or did not publish.")] = None


class HuntList(Struct, frozen=True):
    """The hunts, the newest first."""

    hunts: tuple[Hunt, ...]
