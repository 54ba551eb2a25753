"""Actions on alerts, as the forms of the pages send them. Pure.

The button of a form has the name ``do`` and a value such as ``acknowledge`` or ``resolve:benign``.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from auditflow.contract.access import MAX_NAME
from auditflow.contract.alert import Verdict
from auditflow.contract.triage import MAX_COMMENT
from event_audit_dashboard.presentation.text import plural

SNOOZES: Final = {
    "1h": dt.timedelta(hours=1),
    "8h": dt.timedelta(hours=8),
    "1d": dt.timedelta(days=1),
    "7d": dt.timedelta(days=7),
}
VERDICTS: Final = {
    Verdict.TRUE_POSITIVE: "True positive",
    Verdict.FALSE_POSITIVE: "False positive",
    Verdict.BENIGN: "Benign",
    Verdict.DUPLICATE_OF: "Duplicate",
}
_PAST: Final = {
    "acknowledge": "acknowledged",
    "assign": "assigned",
    "comment": "commented",
    "resolve": "resolved",
    "reopen": "reopened",
    "snooze": "snoozed",
    "unsnooze": "unsnoozed",
}


class InvalidForm(Exception):
    """A field of the form is missing or wrong. The text is shown to the user."""


class Command(Struct, frozen=True):
    """An action of the API and its fields."""

    action: str
    fields: dict[str, Any]

    def done(self, count: int) -> str:
        """Text after the action: ``3 alerts resolved as benign``."""
        text = f"{plural(count, 'alert')} {_PAST[self.action]}"
        if self.action == "resolve":
            return f"{text} as {VERDICTS[Verdict(self.fields['verdict'])].lower()}"
        if self.action == "assign":
            assignee = self.fields["assignee"]
            return f"{text} to {assignee}" if assignee else f"{plural(count, 'alert')} unassigned"
        return text


def parse(form: Mapping[str, str], *, person: str, now: dt.datetime) -> Command:
    """Read an action from a form. ``person`` is the signed-in user.

    Raises:
        InvalidForm: the action is unknown, or a field is missing or wrong.
    """
    action, _, detail = form.get("do", "").partition(":")
    comment = form.get("comment", "").replace("\r\n", "\n").strip()
    if len(comment) > MAX_COMMENT:
        raise InvalidForm(f"The comment is longer than {MAX_COMMENT:,} characters.")
    fields: dict[str, Any] = {"comment": comment} if comment else {}
    match action:
        case "acknowledge" | "reopen" | "unsnooze":
            pass
        case "comment":
            if not comment:
                raise InvalidForm("Enter a comment.")
        case "assign":
            fields["assignee"] = _assignee(detail, form, person)
        case "resolve":
            fields |= _verdict(detail, form)
        case "snooze":
            fields |= _snooze(detail, now)
        case _:
            raise InvalidForm("Select an action.")
    return Command(action, fields)


def _assignee(detail: str, form: Mapping[str, str], person: str) -> str | None:
    if detail == "me":
        return person
    if detail == "nobody":
        return None
    name = form.get("assignee", "").strip()
    if not name:
        raise InvalidForm("Enter the name of the person to assign the alert to.")
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidForm(f"A name has at most {MAX_NAME} printable characters.")
    return name


def _verdict(detail: str, form: Mapping[str, str]) -> dict[str, Any]:
    if detail not in list(Verdict):
        raise InvalidForm("Select a verdict.")
    if detail != Verdict.DUPLICATE_OF:
        return {"verdict": detail}
    original = form.get("duplicate_of", "").strip()
    if not original:
        raise InvalidForm("Enter the identifier of the alert that this alert repeats.")
    return {"verdict": detail, "duplicate_of": original}


def _snooze(detail: str, now: dt.datetime) -> dict[str, Any]:
    if detail == "escalation":
        return {"until_escalation": True}
    if detail not in SNOOZES:
        raise InvalidForm("Select a snooze time.")
    until = (now + SNOOZES[detail]).replace(microsecond=0)
    return {"until": until.isoformat()}
