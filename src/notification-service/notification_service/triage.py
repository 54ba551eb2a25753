"""The life cycle of an alert as one pure state machine: open, acknowledged, resolved.

``apply`` returns the alert after an action, or raises an error that names the allowed actions.
"""

import datetime as dt
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct

from auditflow.contract.alert import Action, Status, Verdict
from auditflow.errors import AuditFlowError
from notification_service.alert import Alert
from notification_service.snooze import MAX_SNOOZE, NO_SNOOZE, Snoozed, is_snoozed


class Command(Struct, frozen=True, kw_only=True):
    """An action and its parameters."""

    action: Action
    comment: str | None = None
    assignee: str | None = None
    verdict: Verdict | None = None
    duplicate_of: UUID | None = None
    until: dt.datetime | None = None
    until_escalation: bool = False


class TriageState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of an alert that actions change. An undo restores them."""

    status: Status
    verdict: Verdict | None = None
    duplicate_of: UUID | None = None
    assignee: str | None = None
    acted_at: dt.datetime | None = None
    active_again: bool = False
    snoozed_until: dt.datetime | None = None
    snoozed_until_escalation: bool = False
    snoozed_at: dt.datetime | None = None
    snoozed_count: int | None = None


class InvalidAction(AuditFlowError):
    """The parameters of an action are wrong, in every state of the alert."""


class IllegalTransition(AuditFlowError):
    """The state of the alert does not allow the action. ``allowed`` lists the allowed actions."""

    def __init__(self, reason: str, allowed: tuple[Action, ...]) -> None:
        super().__init__(reason)
        self.allowed = allowed


#: The actions that each status allows. ``unsnooze`` also requires a snooze.
TRANSITIONS: Final[dict[Status, tuple[Action, ...]]] = {
    Status.OPEN: (
        Action.ACKNOWLEDGE, Action.ASSIGN, Action.COMMENT, Action.RESOLVE, Action.SNOOZE,
        Action.UNSNOOZE,
    ),
    Status.ACKNOWLEDGED: (
        Action.ASSIGN, Action.COMMENT, Action.RESOLVE, Action.REOPEN, Action.SNOOZE,
        Action.UNSNOOZE,
    ),
    Status.RESOLVED: (Action.COMMENT, Action.RESOLVE, Action.REOPEN),
}  # fmt: skip


def state_of(alert: Alert) -> TriageState:
    """The fields that actions change."""
    return TriageState(**{name: getattr(alert, name) for name in TriageState.__struct_fields__})


class HasStatus(Snoozed, Protocol):
    """The fields of an alert that decide which actions are allowed."""

    @property
    def status(self) -> Status: ...


def allowed_actions(alert: HasStatus, now: dt.datetime) -> tuple[Action, ...]:
    """The actions that the state of the alert allows."""
    return tuple(
        action
        for action in TRANSITIONS[alert.status]
        if action is not Action.UNSNOOZE or is_snoozed(alert, now)
    )


def check(command: Command, now: dt.datetime) -> None:
    """Check the parameters of an action, independently of any alert.

    Raises:
        InvalidAction: a parameter is missing, wrong, or contradicts another one.
    """
    match command.action:
        case Action.RESOLVE:
            if command.verdict is None:
                raise InvalidAction("verdict: is required to resolve an alert")
            if (command.verdict is Verdict.DUPLICATE_OF) != (command.duplicate_of is not None):
                raise InvalidAction(
                    "duplicate_of: is required for the verdict duplicate_of, and only for it"
                )
        case Action.SNOOZE:
            if (command.until is None) != command.until_escalation:
                raise InvalidAction("until: give exactly one of until and until_escalation")
            if command.until is not None and not now < command.until <= now + MAX_SNOOZE:
                raise InvalidAction("until: must be in the future, at most 366 days ahead")
        case Action.COMMENT:
            if not command.comment:
                raise InvalidAction("comment: is required")
        case _:
            pass


def apply(alert: Alert, command: Command, *, now: dt.datetime) -> Alert:
    """The alert after an action.

    Raises:
        InvalidAction: the parameters of the action are wrong.
        IllegalTransition: the state of the alert does not allow the action.
    """
    check(command, now)
    allowed = allowed_actions(alert, now)
    if command.action not in allowed:
        raise IllegalTransition(_reason(alert, command.action), allowed)
    if command.duplicate_of == alert.alert_id:
        raise InvalidAction("duplicate_of: an alert cannot be a duplicate of itself")
    if command.action is Action.RESOLVE and (command.verdict, command.duplicate_of) == (
        alert.verdict,
        alert.duplicate_of,
    ):
        raise IllegalTransition("The alert already has this verdict.", allowed)
    return _after_action(alert, _changes(alert, command, now), now)


def restore(alert: Alert, state: TriageState, *, now: dt.datetime) -> Alert:
    """The alert with the state that it had before an action that is undone."""
    return _after_action(alert, msgspec.structs.asdict(state), now)


def _after_action(alert: Alert, changes: dict[str, Any], now: dt.datetime) -> Alert:
    return msgspec.structs.replace(
        alert,
        **{
            **changes,
            "acted_at": now,
            "active_again": False,
            "updated_at": now,
            "triage_version": alert.triage_version + 1,
            "version": alert.version + 1,
        },
    )


def _changes(alert: Alert, command: Command, now: dt.datetime) -> dict[str, Any]:
    match command.action:
        case Action.ACKNOWLEDGE:
            return {"status": Status.ACKNOWLEDGED}
        case Action.ASSIGN:
            return {"assignee": command.assignee}
        case Action.RESOLVE:
            return {
                "status": Status.RESOLVED,
                "verdict": command.verdict,
                "duplicate_of": command.duplicate_of,
                **NO_SNOOZE,
            }
        case Action.REOPEN:
            return {"status": Status.OPEN, "verdict": None, "duplicate_of": None}
        case Action.SNOOZE:
            return {
                "snoozed_until": command.until,
                "snoozed_until_escalation": command.until_escalation,
                "snoozed_at": now,
                "snoozed_count": alert.count,
            }
        case Action.UNSNOOZE:
            return dict(NO_SNOOZE)
        case _:
            return {}


def _reason(alert: Alert, action: Action) -> str:
    if action is Action.UNSNOOZE:
        return "The alert is not snoozed."
    return f"An alert that is {alert.status} does not allow the action {action}."
