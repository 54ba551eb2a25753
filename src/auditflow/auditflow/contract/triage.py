"""The messages of the alert API about the work on alerts: actions, their results, the history."""

from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from auditflow.contract.access import PersonName
from auditflow.contract.alert import Action, Status, Verdict
from auditflow.contract.event import Timestamp
from auditflow.http.problem import Problem

#: Longest comment, in characters.
MAX_COMMENT: Final = 10_000


#: Alerts that one bulk request may select by identifier.
MAX_SELECTION: Final = 1_000


#: Alerts that one bulk request changes. The result reports whether more alerts match.
MAX_BULK: Final = 10_000


CommentText = Annotated[
    str, Meta(min_length=1, max_length=MAX_COMMENT, pattern=r"^[^\x00]*$", description="Markdown.")
]


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One action on an alert. Entries are never changed and never deleted."""

    number: Annotated[
        int, Meta(description="Position in the history of all alerts, from 1 without gaps.")
    ]
    alert_id: UUID
    at: Timestamp
    actor: Annotated[str, Meta(description="The name of the person or of the API token.")]
    actor_kind: Annotated[
        Literal["person", "token", "system"], Meta(description="The kind of the actor.")
    ]
    action: Action
    from_status: Status
    to_status: Status
    verdict: Verdict | None = None
    duplicate_of: UUID | None = None
    assignee: str | None = None
    snoozed_until: Timestamp | None = None
    comment: Annotated[str | None, Meta(description="Markdown.")] = None
    bulk_id: Annotated[
        UUID | None, Meta(description="The bulk action that this entry belongs to.")
    ] = None
    undone_entry: Annotated[
        int | None, Meta(description="The number of the entry that this undo reverts.")
    ] = None
    hash: Annotated[
        str, Meta(description="SHA-256 over the previous hash and this entry, in hexadecimal.")
    ]


class History(Struct, frozen=True):
    """The actions on an alert."""

    entries: Annotated[tuple[HistoryEntry, ...], Meta(description="The newest first.")]
    next_before: Annotated[int | None, Meta(description="Pass as `before` for older entries.")] = (
        None
    )


class AcknowledgeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Acknowledge the alert. The comment is optional."""

    comment: CommentText | None = None


class AssignRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Assign the alert to a person, or to nobody."""

    assignee: PersonName | None
    comment: CommentText | None = None


class CommentRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Comment on the alert."""

    comment: CommentText


class ResolveRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Resolve the alert. `duplicate_of` is required for the verdict of that name."""

    verdict: Verdict
    duplicate_of: UUID | None = None
    comment: CommentText | None = None


class ReopenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Reopen the alert."""

    comment: CommentText | None = None


class SnoozeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Snooze the alert until a time, or until its event rate exceeds its past rate."""

    until: Timestamp | None = None
    until_escalation: bool = False
    comment: CommentText | None = None


class UnsnoozeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """End the snooze of the alert."""

    comment: CommentText | None = None


class BulkRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One action on many alerts: on a selection or on a filter, not both."""

    action: Literal["acknowledge", "assign", "comment", "resolve", "reopen", "snooze", "unsnooze"]
    alert_ids: Annotated[
        tuple[UUID, ...], Meta(max_length=MAX_SELECTION, description="The selection.")
    ] = ()
    filter: Annotated[
        dict[str, str] | None, Meta(description="The parameters of the alert list, without paging.")
    ] = None
    comment: CommentText | None = None
    assignee: PersonName | None = None
    verdict: Verdict | None = None
    duplicate_of: UUID | None = None
    until: Timestamp | None = None
    until_escalation: bool = False
    bulk_id: Annotated[
        UUID | None, Meta(description="Continues a bulk action whose result had `more`.")
    ] = None


class TransitionProblem(Problem, frozen=True, kw_only=True):
    """An error for an action that the state of the alert does not allow."""

    allowed_actions: tuple[Action, ...] = ()


class BulkFailure(Struct, frozen=True):
    """An alert that a bulk action could not change."""

    alert_id: UUID
    reason: str


class BulkResult(Struct, frozen=True):
    """The result of a bulk action."""

    bulk_id: UUID
    changed: int
    failed: Annotated[int, Meta(description="Alerts that the action does not apply to.")] = 0
    failures: Annotated[tuple[BulkFailure, ...], Meta(description="The first 100 of them.")] = ()
    more: Annotated[
        bool, Meta(description="More alerts match the filter. Repeat with this bulk_id.")
    ] = False
