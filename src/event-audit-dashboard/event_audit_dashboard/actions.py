"""Actions on alerts, as the forms of the pages send them. Pure.

The button of a form has the name ``do`` and a value such as ``acknowledge`` or ``resolve:benign``.
"""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from auditflow.contract.access import MAX_NAME
from auditflow.contract.alert import Verdict
from auditflow.contract.triage import MAX_COMMENT
from event_audit_dashboard.localization.translation import N_, Texts, gettext, ngettext
from event_audit_dashboard.localization.translation import count as count_text

#: The identifier of the alert in the URL of one of its pages.
_ALERT_PAGE: Final = re.compile(r"/alerts/([0-9a-fA-F-]{36})(?![^/?#\s])")
SNOOZES: Final = {
    "1h": dt.timedelta(hours=1),
    "8h": dt.timedelta(hours=8),
    "1d": dt.timedelta(days=1),
    "7d": dt.timedelta(days=7),
}
VERDICTS: Final = Texts(
    {
        Verdict.TRUE_POSITIVE: N_("True positive"),
        Verdict.FALSE_POSITIVE: N_("False positive"),
        Verdict.BENIGN: N_("Benign"),
        Verdict.DUPLICATE_OF: N_("Duplicate"),
    }
)


class InvalidForm(Exception):
    """A field of the form is missing or wrong. The text is shown to the user."""


class Command(Struct, frozen=True):
    """An action of the API and its fields."""

    action: str
    fields: dict[str, Any]

    def done(self, count: int) -> str:
        """Text after the action: ``3 alerts resolved: Benign``."""
        match self.action:
            case "acknowledge":
                return ngettext(
                    "%(count)s alert acknowledged", "%(count)s alerts acknowledged", count
                )
            case "resolve":
                return ngettext(
                    "%(count)s alert resolved: %(verdict)s",
                    "%(count)s alerts resolved: %(verdict)s",
                    count,
                    verdict=VERDICTS[Verdict(self.fields["verdict"])],
                )
            case "assign" if self.fields["assignee"]:
                return ngettext(
                    "%(count)s alert assigned to %(name)s",
                    "%(count)s alerts assigned to %(name)s",
                    count,
                    name=self.fields["assignee"],
                )
            case "assign":
                return ngettext("%(count)s alert unassigned", "%(count)s alerts unassigned", count)
            case "comment":
                return ngettext("%(count)s alert commented", "%(count)s alerts commented", count)
            case "reopen":
                return ngettext("%(count)s alert reopened", "%(count)s alerts reopened", count)
            case "snooze":
                return ngettext("%(count)s alert snoozed", "%(count)s alerts snoozed", count)
            case _:
                return ngettext("%(count)s alert unsnoozed", "%(count)s alerts unsnoozed", count)


def parse(form: Mapping[str, str], *, person: str, now: dt.datetime) -> Command:
    """Read an action from a form. ``person`` is the signed-in user.

    Raises:
        InvalidForm: the action is unknown, or a field is missing or wrong.
    """
    action, _, detail = form.get("do", "").partition(":")
    comment = form.get("comment", "").replace("\r\n", "\n").strip()
    if len(comment) > MAX_COMMENT:
        raise InvalidForm(
            gettext(
                "The comment is longer than %(count)s characters.", count=count_text(MAX_COMMENT)
            )
        )
    fields: dict[str, Any] = {"comment": comment} if comment else {}
    match action:
        case "acknowledge" | "reopen" | "unsnooze":
            pass
        case "comment":
            if not comment:
                raise InvalidForm(gettext("Enter a comment."))
        case "assign":
            fields["assignee"] = _assignee(detail, form, person)
        case "resolve":
            fields |= _verdict(detail, form)
        case "snooze":
            fields |= _snooze(detail, now)
        case _:
            raise InvalidForm(gettext("Select an action."))
    return Command(action, fields)


def _assignee(detail: str, form: Mapping[str, str], person: str) -> str | None:
    if detail == "me":
        return person
    if detail == "nobody":
        return None
    name = form.get("assignee", "").strip()
    if not name:
        raise InvalidForm(gettext("Enter the name of the person to assign the alert to."))
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidForm(
            gettext("A name has at most %(count)s printable characters.", count=MAX_NAME)
        )
    return name


def _verdict(detail: str, form: Mapping[str, str]) -> dict[str, Any]:
    if detail not in list(Verdict):
        raise InvalidForm(gettext("Select a verdict."))
    if detail != Verdict.DUPLICATE_OF:
        return {"verdict": detail}
    original = _identifier(form.get("duplicate_of", ""))
    if not original:
        raise InvalidForm(gettext("Enter the identifier of the original alert."))
    return {"verdict": detail, "duplicate_of": original}


def _identifier(text: str) -> str:
    """The identifier of an alert in an identifier or in the URL of a page of the alert."""
    found = _ALERT_PAGE.search(text)
    return found.group(1) if found else text.strip()


def _snooze(detail: str, now: dt.datetime) -> dict[str, Any]:
    if detail == "escalation":
        return {"until_escalation": True}
    if detail not in SNOOZES:
        raise InvalidForm(gettext("Select a snooze time."))
    until = (now + SNOOZES[detail]).replace(microsecond=0)
    return {"until": until.isoformat()}
