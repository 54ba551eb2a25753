"""Describes entries of an alert's history. Pure."""

from typing import Final

from auditflow.contract.alert import Action
from auditflow.contract.triage import HistoryEntry
from event_audit_dashboard.presentation import times
from event_audit_dashboard.presentation.badges import VERDICT
from event_audit_dashboard.presentation.text import shorten

_TEXTS: Final = {
    Action.ACKNOWLEDGE: "acknowledged the alert",
    Action.COMMENT: "commented",
    Action.REOPEN: "reopened the alert",
    Action.UNSNOOZE: "ended the snooze",
    Action.UNDO: "undid the last action",
    Action.ESCALATED: "ended the snooze, because the alert escalated",
}


def describe(entry: HistoryEntry) -> str:
    """The action as the rest of a sentence that starts with the actor."""
    match entry.action:
        case Action.ASSIGN:
            if entry.assignee is None:
                return "unassigned the alert"
            return f"assigned the alert to {shorten(entry.assignee, 60)}"
        case Action.RESOLVE:
            verdict = f" as {VERDICT[entry.verdict].lower()}" if entry.verdict else ""
            duplicate = f" of {entry.duplicate_of}" if entry.duplicate_of else ""
            return f"resolved the alert{verdict}{duplicate}"
        case Action.SNOOZE:
            if entry.snoozed_until is None:
                return "snoozed the alert until it escalates"
            return f"snoozed the alert until {times.exact(entry.snoozed_until)}"
        case action:
            return _TEXTS.get(action, f"performed the action {action}")
