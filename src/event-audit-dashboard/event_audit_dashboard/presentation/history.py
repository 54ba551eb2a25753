"""Describes entries of an alert's history. Pure."""

from typing import Final

from auditflow.contract.alert import Action
from auditflow.contract.triage import HistoryEntry
from event_audit_dashboard.localization.translation import N_, Texts, gettext
from event_audit_dashboard.presentation import times
from event_audit_dashboard.presentation.badges import VERDICT
from event_audit_dashboard.presentation.text import shorten

_TEXTS: Final = Texts(
    {
        Action.ACKNOWLEDGE: N_("acknowledged the alert"),
        Action.COMMENT: N_("commented"),
        Action.REOPEN: N_("reopened the alert"),
        Action.UNSNOOZE: N_("ended the snooze"),
        Action.UNDO: N_("undid the last action"),
        Action.ESCALATED: N_("ended the snooze, because the alert escalated"),
    }
)


def describe(entry: HistoryEntry) -> str:
    """The action as the rest of a sentence that starts with the actor."""
    match entry.action:
        case Action.ASSIGN:
            if entry.assignee is None:
                return gettext("unassigned the alert")
            return gettext("assigned the alert to %(name)s", name=shorten(entry.assignee, 60))
        case Action.RESOLVE:
            if entry.duplicate_of:
                return gettext("resolved the alert as duplicate of %(id)s", id=entry.duplicate_of)
            if entry.verdict:
                return gettext("resolved the alert: %(verdict)s", verdict=VERDICT[entry.verdict])
            return gettext("resolved the alert")
        case Action.SNOOZE:
            if entry.snoozed_until is None:
                return gettext("snoozed the alert until it escalates")
            return gettext(
                "snoozed the alert until %(time)s", time=times.exact(entry.snoozed_until)
            )
        case action:
            return _TEXTS.get(action) or gettext("performed the action %(action)s", action=action)
